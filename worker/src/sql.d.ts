// Files of SQL are bundled as their text.
declare module "*.sql" {
  const text: string;
  export default text;
}
