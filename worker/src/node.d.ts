// What we use of Node's modules in workerd (nodejs_compat).
declare module "node:crypto" {
  export function createHash(algorithm: "sha256"): {
    update(data: string | Uint8Array): { digest(encoding: "hex"): string };
  };
}
