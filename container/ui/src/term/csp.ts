/**
 * xterm.js writes <style> elements and style attributes, which our policy does not run. What it writes goes in by the
 * object model instead, which the policy leaves alone: nothing that an agent prints reaches either as markup.
 */
const create = document.createElement.bind(document);

function sheetElement(): HTMLElement {
  const element = create("template"); // even an empty <style> would be refused
  const sheet = new CSSStyleSheet();
  let text = "";
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set: (value: string) => {
      text = value;
      sheet.replaceSync(value);
    },
  });
  Object.defineProperty(element, "remove", {
    value: () => {
      document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== sheet);
      HTMLElement.prototype.remove.call(element);
    },
  });
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  return element;
}

Object.defineProperty(document, "createElement", {
  value: (tag: string, options?: ElementCreationOptions) => (tag === "style" ? sheetElement() : create(tag, options)),
});

// The rows of xterm's DOM renderer: colours beyond the palette, and widths.
Object.defineProperty(HTMLSpanElement.prototype, "setAttribute", {
  value(this: HTMLSpanElement, name: string, value: string) {
    if (name === "style") this.style.cssText = value;
    else HTMLElement.prototype.setAttribute.call(this, name, value);
  },
});
