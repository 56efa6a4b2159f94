// Pictures of one size, one wiped over the other: on the right every prefix of a file, chosen by a slider; on the left what it is compared with,
// which is shown at the size nearest to the prefix's. `data`: {name, files: [file], others: {name: [file]}}, file: {bytes, bpp, psnr, src}.
function viewer(parent, data) {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const under = make("img", { alt: data.name, draggable: false });
  const over = make("img", { className: "over", alt: "", draggable: false });
  const bar = make("div", { className: "bar" });
  const stage = make("div", { className: "stage" }, under, over, bar);
  const size = make("input", { type: "range", min: 0, max: data.files.length - 1, value: data.start ?? data.files.length - 1 });
  const wipe = make("input", { type: "range", min: 0, max: 1, step: "any", value: 0.5 });
  const names = Object.keys(data.others);
  const other = make("select", {}, ...names.map((name) => make("option", { value: name, textContent: name })));
  const right = make("output"), left = make("output");
  const controls = make("div", { className: "controls" });
  const row = (label, control, output) => controls.append(make("label", { textContent: label }), control, output);
  row("bytes", size, right);
  if (names.length) {
    row("left", other, left);
    row("wipe", wipe, "");
  } else {
    over.remove();
    bar.remove();
  }
  const caption = (file) => {
    const quality = file.psnr === null ? "" : `, ${file.psnr === undefined ? "exact" : file.psnr.toFixed(2) + " dB"}`;
    return `${file.bytes} bytes, ${file.bpp.toFixed(3)} bpp${quality}`;
  };
  const draw = () => {
    const file = data.files[size.value];
    under.src = file.src;
    right.textContent = `${data.name}: ${caption(file)}`;
    if (!names.length) return;
    const distance = (candidate) => Math.abs(Math.log(candidate.bytes / file.bytes));
    const nearest = data.others[other.value].reduce((a, b) => (distance(b) < distance(a) ? b : a));
    over.src = nearest.src;
    left.textContent = caption(nearest);
    over.style.clipPath = `inset(0 ${100 * (1 - wipe.value)}% 0 0)`;
    bar.style.left = `calc(${100 * wipe.value}% - 1px)`;
  };
  const follow = (event) => {
    const box = stage.getBoundingClientRect();
    wipe.value = (event.clientX - box.left) / box.width;
    draw();
  };
  stage.addEventListener("pointerdown", follow);
  stage.addEventListener("pointermove", (event) => event.buttons && follow(event));
  for (const control of [size, wipe, other]) control.addEventListener("input", draw);
  parent.append(make("div", { className: "viewer" }, stage, controls));
  draw();
}
for (const place of document.querySelectorAll("[data-viewer]")) viewer(place, JSON.parse(place.querySelector("script").textContent));
