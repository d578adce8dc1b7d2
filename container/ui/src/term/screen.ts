/** A terminal in the page. */
import { FitAddon } from "@xterm/addon-fit";
import type { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { newTerminal } from "./new";

const encoder = new TextEncoder();

const typingFont = 13;
const fonts = { least: 7, most: 15 };

export class Screen {
  private readonly term: Terminal;
  private readonly fitting = new FitAddon();
  private pending = 0; // bytes that were given and are not drawn yet
  private waiting: (() => void) | null = null;
  private gone = false;
  typing = false;

  constructor(private readonly box: HTMLElement) {
    this.term = newTerminal({ fontSize: typingFont, scrollback: 10_000, disableStdin: true, cursorBlink: false });
    this.term.loadAddon(this.fitting);
    this.term.open(box);
    this.term.textarea?.setAttribute("aria-label", "Terminal");
    // Tab leaves a terminal that nobody types into; Ctrl+Shift+Escape leaves one that somebody does.
    this.term.attachCustomKeyEventHandler((e) => {
      if (e.key === "Escape" && e.ctrlKey && e.shiftKey) {
        this.term.blur();
        return false;
      }
      return this.typing;
    });
    this.label(box);
  }

  private label(box: HTMLElement) {
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", "Terminal of the agent");
  }

  /** How many bytes the drawing is behind. */
  get behind(): number {
    return this.pending;
  }

  reset(cols: number, rows: number): void {
    this.term.reset();
    this.size(cols, rows);
  }

  size(cols: number, rows: number): void {
    // In order with the bytes: those before are drawn for the size before.
    this.term.write("", () => {
      if (this.gone || cols <= 0 || rows <= 0) return;
      this.term.resize(cols, rows);
      this.scale();
    });
  }

  /** Makes the font as large as lets all of the terminal be seen: whoever types says how many rows it has. */
  scale(): void {
    if (this.gone) return;
    const { fontSize = typingFont } = this.term.options;
    const drawn = this.box.querySelector<HTMLElement>(".xterm-screen");
    let size = typingFont;
    if (!this.typing && drawn?.offsetWidth) {
      const style = getComputedStyle(this.box);
      const width = this.box.clientWidth - Number.parseFloat(style.paddingLeft) * 2 - 16; // of the scroll bar
      const height = this.box.clientHeight - Number.parseFloat(style.paddingTop) * 2;
      const most = Math.min(width / drawn.offsetWidth, height / drawn.offsetHeight) * fontSize;
      size = Math.max(fonts.least, Math.min(fonts.most, Math.floor(most * 2) / 2));
    }
    if (size !== fontSize) this.term.options.fontSize = size;
  }

  write(data: string | Uint8Array): void {
    const n = data.length;
    this.pending += n;
    this.term.write(data, () => {
      this.pending -= n;
      if (this.pending < 256 << 10 && this.waiting) {
        const ready = this.waiting;
        this.waiting = null;
        ready();
      }
    });
  }

  /** Calls ready when most of what was given is drawn. */
  caughtUp(ready: () => void): void {
    this.waiting = ready;
  }

  input(on: boolean): void {
    this.typing = on;
    this.term.options.disableStdin = !on;
    this.term.options.cursorBlink = on;
    this.scale();
  }

  onInput(send: (data: Uint8Array<ArrayBuffer>) => void): void {
    this.term.onData((text) => this.typing && send(encoder.encode(text)));
    this.term.onBinary((text) => this.typing && send(Uint8Array.from(text, (c) => c.charCodeAt(0))));
  }

  /** The size that fills the box. */
  fit(): { cols: number; rows: number } {
    const fits = this.fitting.proposeDimensions();
    if (!fits || Number.isNaN(fits.cols)) return { cols: this.term.cols, rows: this.term.rows };
    return { cols: Math.max(20, Math.min(500, fits.cols)), rows: Math.max(5, Math.min(200, fits.rows)) };
  }

  focus(): void {
    this.term.focus();
  }

  dispose(): void {
    this.gone = true;
    this.term.dispose();
  }
}
