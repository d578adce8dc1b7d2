/** The keys of the whole page. Those of a field or a terminal are its own. */
import { useEffect } from "preact/hooks";
import { go } from "./route";

export const keys: [string, string][] = [
  ["g t", "Town"],
  ["g b", "Beads"],
  ["g m", "Merge queue"],
  ["g i", "Inbox"],
  ["g h", "Health"],
  ["n", "New bead"],
  ["/", "Filter or search"],
  ["j k", "Next and previous agent or bead"],
  ["Enter", "Open it"],
  ["Esc", "Leave a field; back to the town"],
  ["Ctrl+Shift+Esc", "Leave a terminal that you type into"],
  ["?", "These keys"],
];

const places: Record<string, string> = { t: "town", b: "beads", m: "merges", i: "inbox", h: "health" };

function owns(target: EventTarget | null): target is HTMLElement {
  return (
    target instanceof HTMLElement &&
    target.closest("input:not([type=checkbox],[type=range]), textarea, select, .terminal") !== null
  );
}

function step(by: number) {
  const all = [...document.querySelectorAll<HTMLElement>("main .tile a, main .card[href], main .lines a.strong")];
  const here = all.findIndex((link) => link.matches(":focus"));
  const next = all[here < 0 ? (by > 0 ? 0 : all.length - 1) : here + by];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

export function useKeys(help: () => void): void {
  useEffect(() => {
    let before = "";
    const pressed = (e: KeyboardEvent) => {
      if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
      if (owns(e.target)) {
        if (e.key === "Escape" && !e.target.closest(".terminal")) e.target.blur();
        return;
      }
      if (document.querySelector("dialog[open]")) return;
      const went = before === "g" && places[e.key];
      before = e.key;
      if (went) go(`#/${went}`);
      else if (e.key === "?") help();
      else if (e.key === "n") go("#/beads?new=1");
      else if (e.key === "j") step(1);
      else if (e.key === "k") step(-1);
      else if (e.key === "Escape") go("#/town");
      else if (e.key === "/") document.querySelector<HTMLElement>("main input[type=search]")?.focus();
      else return;
      e.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [help]);
}
