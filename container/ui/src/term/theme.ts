import type { ITheme } from "@xterm/xterm";

// Terminals are dark in both themes: programs choose their colours for that.
export const theme: ITheme = {
  background: "#10151c",
  foreground: "#d5dde6",
  cursor: "#e8b45a",
  cursorAccent: "#10151c",
  selectionBackground: "#36506e",
  black: "#2b333d",
  red: "#ef7b7b",
  green: "#7fc98f",
  yellow: "#e2c06d",
  blue: "#78aef0",
  magenta: "#c99bea",
  cyan: "#6cc7cf",
  white: "#cdd5de",
  brightBlack: "#7d8996",
  brightRed: "#ff9c9c",
  brightGreen: "#9fe3ae",
  brightYellow: "#f4d88f",
  brightBlue: "#9dc6ff",
  brightMagenta: "#deb9f7",
  brightCyan: "#90e1e8",
  brightWhite: "#f4f7fa",
};

const sixteen = [
  theme.black,
  theme.red,
  theme.green,
  theme.yellow,
  theme.blue,
  theme.magenta,
  theme.cyan,
  theme.white,
  theme.brightBlack,
  theme.brightRed,
  theme.brightGreen,
  theme.brightYellow,
  theme.brightBlue,
  theme.brightMagenta,
  theme.brightCyan,
  theme.brightWhite,
];

/** The colour of an index of the 256. */
export function palette(index: number): string {
  const named = sixteen[index];
  if (named) return named;
  if (index >= 232) return gray(8 + (index - 232) * 10);
  const step = (n: number) => (n === 0 ? 0 : 55 + n * 40);
  const i = index - 16;
  return `rgb(${step(Math.floor(i / 36))},${step(Math.floor(i / 6) % 6)},${step(i % 6)})`;
}

const gray = (v: number) => `rgb(${v},${v},${v})`;

export const mono = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';
