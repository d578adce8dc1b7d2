/** Where the person is: the part of the address after #, so that every view can be linked to. */
import { useEffect, useState } from "preact/hooks";

export interface Route {
  view: string;
  id: string;
  tab: string;
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [where = "", search = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view = "", id = "", tab = ""] = where.split("/").map(decode);
  return { view: view || "town", id, tab, query: new URLSearchParams(search) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function to(view: string, id = "", tab = ""): string {
  return `#/${[view, id, tab].filter(Boolean).map(encodeURIComponent).join("/")}`;
}

export function go(hash: string): void {
  location.hash = hash;
}

export function useRoute(): Route {
  const [route, set] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => set(parse(location.hash));
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
