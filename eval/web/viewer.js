// Pictures of one size, one wiped over the other: on the right every prefix of a file, chosen by a slider or its thumbnail; on the left what
// it is compared with, shown at the size nearest to the prefix's. The browser decodes a picture when it is shown. On the stage, arrow keys go
// from prefix to prefix, and the space bar shows one side whole, then the other.
// `data`: {name, files: [file], others: {name: [file]}, start}, file: {bytes, bpp, psnr, src}, those of `files` with `small`, a thumbnail.
function viewer(parent, data) {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const caption = (file) => {
    const quality = file.psnr === null ? "" : `, ${file.psnr === undefined ? "exact" : file.psnr.toFixed(2) + " dB"}`;
    return `${file.bytes} bytes, ${file.bpp.toFixed(3)} bpp${quality}`;
  };
  const names = Object.keys(data.others);
  const under = make("img", { alt: data.name, draggable: false });
  const over = make("img", { className: "over", alt: "", draggable: false });
  const bar = make("div", { className: "bar" });
  const stage = make("div", { className: "stage", tabIndex: 0, role: "group", ariaLabel: data.name }, under, over, bar);
  const size = make("input", { type: "range", min: 0, max: data.files.length - 1, value: data.start ?? data.files.length - 1 });
  const wipe = make("input", { type: "range", min: 0, max: 1, step: "any", value: 0.5 });
  const other = make("select", {}, ...names.map((name) => make("option", { value: name, textContent: name })));
  const right = make("output"), left = make("output");
  const controls = make("div", { className: "controls" });
  const row = (label, control, ...output) => {
    control.ariaLabel = label;
    controls.append(make("span", { textContent: label }), control, ...output);
  };
  row("bytes", size, right);
  if (names.length) {
    row("left", other, left);
    row("wipe", wipe);
  } else {
    over.remove();
    bar.remove();
  }
  const choose = (index) => {
    size.value = index;
    draw();
  };
  const thumbnails = data.files.map((file, index) =>
    make("button", { type: "button", title: caption(file), onclick: () => choose(index) },
         make("img", { src: file.small, alt: caption(file), loading: "lazy" })));
  const strip = make("div", { className: "strip" }, ...thumbnails);
  const draw = () => {
    const index = Number(size.value), file = data.files[index];
    under.src = file.src;
    right.textContent = `${data.name}: ${caption(file)}`;
    thumbnails.forEach((thumbnail, i) => thumbnail.ariaCurrent = i === index);
    strip.scrollLeft = thumbnails[index].offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
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
  stage.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") choose(Number(size.value) + (event.key === "ArrowLeft" ? -1 : 1));
    else if (event.key === " ") { wipe.value = wipe.value < 1 ? 1 : 0; draw(); }
    else return;
    event.preventDefault();
  });
  for (const control of [size, wipe, other]) control.addEventListener("input", draw);
  parent.append(make("div", { className: "viewer" }, stage, strip, controls));
  draw();
  addEventListener("load", draw);  // the thumbnails have their widths now
}
for (const place of document.querySelectorAll("[data-viewer]")) viewer(place, JSON.parse(place.querySelector("script").textContent));
