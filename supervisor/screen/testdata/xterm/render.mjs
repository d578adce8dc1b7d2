// Draws recordings with @xterm/headless. Each line of the input is a job
// {cols, rows, events: [[seconds, "o" | "b" | "r", data], ...], cuts: [n, ...]}, "b"
// being bytes in base64; the answer is a line with the screens after n events. The
// line "widths" asks for the width of every character.
import { createInterface } from 'node:readline';
import headless from '@xterm/headless';
import unicode11 from '@xterm/addon-unicode11';

function color(isDefault, isRGB, n) {
  if (isDefault) return '-';
  return isRGB ? '#' + n.toString(16).padStart(6, '0') : String(n);
}

function style(cell) {
  // isUnderline() would be true of links, too: viewers draw them so.
  const flags = [
    [cell.isBold(), 'b'], [cell.isDim(), 'd'], [cell.isItalic(), 'i'], [cell.fg & 0x10000000, 'u'], [cell.isBlink(), 'k'],
    [cell.isInverse(), 'r'], [cell.isInvisible(), 'h'], [cell.isStrikethrough(), 's'], [cell.isOverline(), 'o'],
  ];
  const fg = color(cell.isFgDefault(), cell.isFgRGB(), cell.getFgColor());
  const bg = color(cell.isBgDefault(), cell.isBgRGB(), cell.getBgColor());
  return `${fg}/${bg}/${flags.map(([on, f]) => (on ? f : '')).join('')}`;
}

// styles gives the looks of a line as runs, "3:1/-/b" being three bold red columns.
function styles(line, cols) {
  const runs = [];
  for (let x = 0; x < cols; x++) {
    const s = style(line.getCell(x));
    if (runs.length && runs.at(-1)[1] === s) runs.at(-1)[0]++;
    else runs.push([1, s]);
  }
  return runs.map(([n, s]) => `${n}:${s}`).join(' ');
}

function screen(term, title) {
  const buffer = term.buffer.active;
  const lines = Array.from({ length: term.rows }, (_, y) => buffer.getLine(buffer.baseY + y));
  return {
    cols: term.cols, rows: term.rows,
    lines: lines.map((l) => l.translateToString(true, 0, term.cols).replace(/ +$/, '')),
    styles: lines.map((l) => styles(l, term.cols)),
    cursorX: Math.min(buffer.cursorX, term.cols - 1), cursorY: buffer.cursorY,
    cursorVisible: !term._core.coreService.isCursorHidden,
    altScreen: buffer.type === 'alternate', title, above: term.buffer.normal.baseY,
  };
}

async function draw({ cols, rows, events, cuts }) {
  const term = new headless.Terminal({ cols, rows, scrollback: 200, allowProposedApi: true, logLevel: 'off' });
  term.loadAddon(new unicode11.Unicode11Addon());
  term.unicode.activeVersion = '11';
  let title = '';
  term.onTitleChange((t) => { title = t; });
  const screens = [];
  for (let n = 0; ; n++) {
    if (cuts.includes(n)) screens.push(screen(term, title));
    if (n === events.length) break;
    const [, kind, data] = events[n];
    if (kind === 'r') term.resize(...data.split('x').map(Number));
    else await new Promise((done) => term.write(kind === 'b' ? Buffer.from(data, 'base64') : data, done));
  }
  term.dispose();
  return screens;
}

// widths gives the width of every character, as [first, width] of each run.
function widths() {
  const runs = [];
  const activate = (provider) => {
    for (let c = 0; c < 0x110000; c++) {
      const w = provider.wcwidth(c);
      if (runs.at(-1)?.[1] !== w) runs.push([c, w]);
    }
  };
  new unicode11.Unicode11Addon().activate({ unicode: { register: activate } });
  return runs;
}

// What xterm.js throws comes from a timer of its own; that job is answered with null.
let fail;
process.on('uncaughtException', (err) => fail(err));

for await (const line of createInterface({ input: process.stdin })) {
  const failed = new Promise((_, reject) => { fail = reject; });
  if (line === 'widths') console.log(JSON.stringify(widths()));
  else console.log(JSON.stringify(await Promise.race([draw(JSON.parse(line)), failed]).catch(() => null)));
}
