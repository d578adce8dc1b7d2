import "./csp";
import { type ITerminalInitOnlyOptions, type ITerminalOptions, Terminal } from "@xterm/xterm";
import { mono, theme } from "./theme";

/**
 * A terminal for what an agent prints, which is hostile: links (OSC 8) are plain text, titles and the clipboard are left
 * alone, the window cannot be moved or asked.
 */
export function newTerminal(options: ITerminalOptions & ITerminalInitOnlyOptions): Terminal {
  const term = new Terminal({
    allowProposedApi: false,
    fontFamily: mono,
    theme,
    windowOptions: {},
    linkHandler: null,
    logLevel: "off",
    minimumContrastRatio: 3,
    ...options,
  });
  for (const code of [0, 1, 2, 7, 8, 9, 52, 777, 1337]) term.parser.registerOscHandler(code, () => true);
  return term;
}
