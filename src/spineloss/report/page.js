"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables sort by a press on a heading: best first, then the other way.
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table), body = table.tBodies[0];
    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const key = row => column === 0 ? row.cells[0].textContent : Number(row.cells[column].dataset.value);
      const first = heading.dataset.higher === "yes" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? (first === "ascending" ? "descending" : "ascending") : first;
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return sign * (column === 0 ? x.localeCompare(y) : x - y);
      });
      headings.forEach(other => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      body.append(...rows);
    }));
  }

  // A selector shows one figure of its kind.
  for (const select of all("select[data-shows]")) {
    const kind = select.dataset.shows;
    const show = () => all(`[data-${kind}]`).forEach(figure => { figure.hidden = figure.dataset[kind] !== select.value; });
    select.addEventListener("change", show);
    show();
  }

  // A case is followed through the methods.
  const choice = document.getElementById("case-choice");
  const strips = all("[data-distribution] svg");
  function follow() {
    for (const svg of strips) {
      all(".chosen", svg).forEach(element => element.classList.remove("chosen"));
      svg.classList.toggle("following", choice.value !== "");
      if (choice.value === "") continue;
      all(`[id*="-case-${choice.value}-"], [id$="-line-${choice.value}"]`, svg).forEach(element => element.classList.add("chosen"));
    }
  }
  choice.addEventListener("change", follow);
  for (const svg of strips) svg.addEventListener("mouseover", event => {
    const number = event.target.closest('[id*="-case-"]')?.id.match(/-case-(\d+)-\d+$/)?.[1];
    if (number === undefined || number === choice.value) return;
    choice.value = number;
    follow();
  });

  // The 3D view opens when it is seen: it is the page's largest part.
  const canvas = document.getElementById("scene");
  if (!canvas) return;
  const scene = JSON.parse(document.getElementById("scene-data").textContent);
  const note = document.getElementById("scene-note");
  const method = document.getElementById("scene-method"), layer = document.getElementById("scene-layer");
  const key = document.getElementById("scene-key");
  const volume = (base64, name, options) => niivue.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, ...options });

  // The viewer's code stays compressed until then.
  async function unpack() {
    const bytes = Uint8Array.from(atob(document.getElementById("viewer").textContent), letter => letter.charCodeAt(0));
    const script = document.createElement("script");
    script.textContent = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(script);
  }

  async function open() {
    await unpack();
    const viewer = new niivue.Niivue({ backColor: [0, 0, 0, 1], isColorbar: true, logLevel: "silent", show3Dcrosshair: true, crosshairWidthUnit: "percent", crosshairWidth: 0.4 });
    await viewer.attachToCanvas(canvas);
    if (!viewer.gl) throw new Error("no WebGL2");
    viewer.opts.multiplanarShowRender = 1;
    viewer.setSliceType(viewer.sliceTypeMultiplanar);
    viewer.addColormap("truth", { R: [0, 0], G: [200, 200], B: [120, 120], A: [0, 200], I: [0, 255] });
    viewer.addColormap("distance", { R: [86, 86, 240, 213], G: [180, 180, 228, 94], B: [233, 233, 66, 0], A: [0, 255, 255, 255], I: [0, 1, 96, 255] });
    viewer.addColormap("prediction", { R: [90, 90], G: [150, 150], B: [255, 255], A: [0, 200], I: [0, 255] });
    const image = await volume(scene.image, "image", { colormap: "gray", colorbarVisible: false });
    const truth = await volume(scene.truth, "truth", { colormap: "truth", opacity: 0.5, cal_min: 0, cal_max: 1, colorbarVisible: false });
    viewer.addVolume(image);
    viewer.addVolume(truth);
    viewer.scene.crosshairPos = viewer.mm2frac(scene.centre);
    let shown = null;
    async function show() {
      const surface = layer.value === "surface";
      const base64 = scene.methods[method.value][surface ? "surface" : "mask"];
      const next = await volume(base64, "prediction", surface
        ? { colormap: "distance", opacity: 1, cal_min: 0, cal_max: scene.far }
        : { colormap: "prediction", opacity: 0.6, cal_min: 0, cal_max: 1, colorbarVisible: false });
      if (shown) viewer.removeVolume(shown);
      viewer.addVolume(next);
      // The image would hide a surface within it.
      viewer.setOpacity(0, surface ? 0.3 : 1);
      viewer.setOpacity(1, surface ? 0 : 0.5);
      key.hidden = surface;
      shown = next;
      note.textContent = `${method.value}: ${layer.selectedOptions[0].textContent}.`;
    }
    method.addEventListener("change", show);
    layer.addEventListener("change", show);
    await show();
    canvas.addEventListener("keydown", event => {
      const turn = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
      const step = { PageUp: 1, PageDown: -1 }[event.key];
      if (!turn && !step) return;
      event.preventDefault();
      const { renderAzimuth, renderElevation } = viewer.scene;
      if (turn) viewer.setRenderAzimuthElevation(renderAzimuth + turn[0], renderElevation + turn[1]);
      else viewer.moveCrosshairInVox(step, step, step);
    });
    canvas.dataset.ready = "yes";
  }

  new IntersectionObserver((entries, observer) => {
    if (!entries.some(entry => entry.isIntersecting)) return;
    observer.disconnect();
    open().catch(error => { note.textContent = `The 3D view needs a browser of 2023 or newer with WebGL2 (${error.message}).`; });
  }, { rootMargin: "200px" }).observe(canvas);
})();

// Paper shows what is folded, too.
for (const [event, open] of [["beforeprint", true], ["afterprint", false]]) {
  window.addEventListener(event, () => {
    for (const part of document.querySelectorAll(open ? "details:not([open])" : "details[data-printed]")) {
      part.open = open;
      part.toggleAttribute("data-printed", open);
    }
  });
}
