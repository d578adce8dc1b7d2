/** Draws the buffer of a terminal small, on a canvas. */
import type { IBufferCell, Terminal } from "@xterm/xterm";
import { mono, palette, theme } from "./theme";

const background = theme.background ?? "#000";
const foreground = theme.foreground ?? "#fff";
const margin = 5; // around the text
let advance = 0; // width of a character in a font of 1 px

function widthOfOne(context: CanvasRenderingContext2D): number {
  if (advance === 0) {
    context.font = `100px ${mono}`;
    advance = context.measureText("M").width / 100;
  }
  return advance;
}

function colours(cell: IBufferCell): [fg: string, bg: string] {
  const hex = (rgb: number) => `#${rgb.toString(16).padStart(6, "0")}`;
  let fg = foreground;
  let bg = background;
  if (cell.isFgRGB()) fg = hex(cell.getFgColor());
  else if (cell.isFgPalette()) fg = palette(cell.getFgColor() + (cell.isBold() && cell.getFgColor() < 8 ? 8 : 0));
  if (cell.isBgRGB()) bg = hex(cell.getBgColor());
  else if (cell.isBgPalette()) bg = palette(cell.getBgColor());
  if (cell.isInvisible()) fg = bg;
  return cell.isInverse() ? [bg, fg] : [fg, bg];
}

/** The last row that holds something, or the cursor's. */
function lastRow(term: Terminal): number {
  const buffer = term.buffer.active;
  let y = term.rows - 1;
  while (y > buffer.cursorY && !buffer.getLine(buffer.baseY + y)?.translateToString(true)) y--;
  return y;
}

/** Draws as many columns and rows as fit legibly: the left, and what was written last. */
export function draw(term: Terminal, canvas: HTMLCanvasElement): void {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const inner = { width: width - 2 * margin, height: height - 2 * margin };
  const context = canvas.getContext("2d", { alpha: false });
  if (!context || width === 0 || height === 0) return;
  const ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const one = widthOfOne(context);
  const size = Math.max(inner.width / (term.cols * one), 7);
  const cell = { width: size * one, height: size * 1.25 };
  const cols = Math.min(term.cols, Math.floor(inner.width / cell.width));
  const rows = Math.min(term.rows, Math.floor(inner.height / cell.height));
  const first = Math.max(0, lastRow(term) - rows + 1);
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  context.translate(margin, margin);
  context.textBaseline = "middle";
  context.font = `${size}px ${mono}`;
  for (let row = 0; row < rows; row++) drawRow(context, term, first + row, row, cols, cell);
}

function drawRow(
  context: CanvasRenderingContext2D,
  term: Terminal,
  from: number,
  row: number,
  cols: number,
  cell: { width: number; height: number },
) {
  const buffer = term.buffer.active;
  const line = buffer.getLine(buffer.baseY + from);
  if (!line) return;
  const y = row * cell.height;
  let run = { text: "", at: 0, fg: "", bg: "" };
  const flush = (end: number) => {
    if (run.bg !== background && run.bg) {
      context.fillStyle = run.bg;
      context.fillRect(run.at * cell.width, y, (end - run.at) * cell.width + 0.5, cell.height + 0.5);
    }
    if (run.text.trim()) {
      context.fillStyle = run.fg;
      context.fillText(run.text, run.at * cell.width, y + cell.height / 2);
    }
  };
  let held: IBufferCell | undefined;
  for (let x = 0; x < cols; x++) {
    held = line.getCell(x, held);
    if (!held || held.getWidth() === 0) continue;
    const [fg, bg] = colours(held);
    const text = held.getChars() || " ";
    const plain = text <= "~" && held.getWidth() === 1; // others may be wider than a cell and go alone
    if (fg !== run.fg || bg !== run.bg || !plain) {
      flush(x);
      run = { text: "", at: x, fg, bg };
    }
    run.text += text;
    if (!plain) {
      flush(x + held.getWidth());
      run = { text: "", at: x + held.getWidth(), fg: "", bg: "" };
    }
  }
  flush(cols);
}
