// Makes elements. Texts become text nodes, so that nothing that a file says is ever read as HTML.
/// <reference lib="dom" />

/** @param properties properties of the element, or attributes where the name has a dash or is `role` or `for` */
export function html<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Readonly<Record<string, unknown>> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/-|^role$|^for$/.test(name)) made.setAttribute(name, String(value));
    else Reflect.set(made, name, value);
  }
  made.append(...children);
  return made;
}

/** A button with a text. */
export function button(
  text: string,
  onclick: () => void,
  properties: Readonly<Record<string, unknown>> = {},
) {
  return html("button", { type: "button", onclick, ...properties }, text);
}

/** A choice of one among a few, as radio buttons that look like one bar. Arrow keys move between them. */
export function choice<T extends string>(
  legend: string,
  options: Readonly<Record<T, string>>,
  chosen: T,
  onchange: (value: T) => void,
): HTMLFieldSetElement {
  const name = `choice${++choices}`;
  const labels = (Object.entries(options) as [T, string][]).map(([value, text]) =>
    html(
      "label",
      {},
      html("input", {
        type: "radio",
        name,
        value,
        checked: value === chosen,
        onchange: () => onchange(value),
      }),
      html("span", {}, text),
    )
  );
  return html("fieldset", { className: "choice" }, html("legend", {}, legend), ...labels);
}
let choices = 0;

/** Lets the user choose a file. */
export function chooseFile(accept: string, use: (file: File) => void): void {
  const input = html("input", { type: "file", accept });
  input.onchange = () => {
    const [file] = input.files ?? [];
    if (file) use(file);
  };
  input.click();
}
