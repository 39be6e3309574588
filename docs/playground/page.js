// The page: what its controls do. States are computed by decoder.js and annealer.js, the numbers come from record.js.
"use strict";

const element = (id) => document.getElementById(id);
const fixed = (value, digits) => value.toFixed(digits).replace("-", "\u2212");
const slider = (id) => Number(element(id).value);
const onInput = (id, act) => element(id).addEventListener("input", act);

// Draws a state and describes it for those who do not see it; what is shown is also what is saved.
class Picture {
  constructor(id) {
    this.canvas = element(id);
    this.id = id;
  }

  show(spins, n, D, B, name, file) {
    Object.assign(this, {spins, n, name, file, energy: energyPerSpin(spins, n, D, B), charge: charge(spins, n)});
    paint(this.canvas, spins, n);
    element(`${this.id}-energy`).textContent = `${fixed(this.energy, 5)} J`;
    element(`${this.id}-charge`).textContent = fixed(Math.round(this.charge), 0);
    this.canvas.setAttribute("aria-label", `Map of ${n} by ${n} spins, ${name}: energy ${fixed(this.energy, 5)} J per `
      + `spin, topological charge ${fixed(Math.round(this.charge), 0)}.`);
  }

  save(kind) {
    if (!this.spins) return;
    if (kind === "ovf") {
      const title = this.name.replace(/\u03b3/g, "gamma").replace(/[^ -~]/g, "-");  // the format's header is ASCII
      offer(new Blob(ovfFile(this.spins, this.n, title)), `${this.file}.ovf`);
      return;
    }
    const large = document.createElement("canvas"), side = 8 * 64;  // whole pixels for each site
    large.width = large.height = side;
    const context = large.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, 0, 0, side, side);
    large.toBlob((blob) => offer(blob, `${this.file}.png`));
  }
}

function paint(canvas, spins, n) {
  canvas.width = canvas.height = n;
  canvas.getContext("2d").putImageData(new ImageData(pixels(spins, n), n, n), 0, 0);
}

function offer(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);  // not before the browser has read it
}

const pictures = {state: new Picture("state"), lattice: new Picture("lattice")};
for (const button of document.querySelectorAll("[data-save]")) {
  const [id, kind] = button.dataset.save.split(" ");
  button.addEventListener("click", () => pictures[id].save(kind));
}

// ---- numbers in the text, and the key to the colours

const said = {...RECORD.cooling, latent: RECORD.shape.latent, size: RECORD.shape.size, axes: RECORD.axes.length,
  gamma_collapsed: RECORD.gamma_collapsed.toLocaleString("en").replaceAll(",", "\u202f"), D: RECORD.D, B: RECORD.B,
  beta: RECORD.beta, share: `${Math.round(100 * RECORD.share)} %`, lowest: fixed(RECORD.lowest, 5),
  uniform: fixed(RECORD.uniform, 5)};
for (const place of document.querySelectorAll("[data-record]")) place.textContent = said[place.dataset.record];

function paintWheel() {
  const canvas = element("wheel"), n = canvas.width, image = new ImageData(n, n);
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      const x = (column + 0.5) * 2 / n - 1, y = 1 - (row + 0.5) * 2 / n, radius = Math.hypot(x, y);
      const polar = Math.PI * Math.min(radius, 1), rim = Math.sin(polar) / (radius || 1);
      const rgb = spinColour(rim * x, rim * y, Math.cos(polar));
      const opaque = Math.min(Math.max((1 - radius) * n / 2, 0), 1);  // the rim fades over one pixel, against stairs
      image.data.set([...rgb, opaque].map((part) => 255 * part), 4 * (row * n + column));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
paintWheel();

// ---- the networks

const decoders = {}, tiles = {};
let waiting = [];  // names of the networks whose states are to be computed, the one on screen first
const shown = () => document.querySelector("[name=network]:checked").value;

for (const [name, label] of Object.entries(RECORD.names)) {
  const box = document.createElement("label");
  box.innerHTML = `<canvas aria-hidden="true"></canvas><input type="radio" name="network" value="${name}">${label}`
    + '<span class="numbers"></span>';
  element("choice").append(box);
  tiles[name] = {canvas: box.querySelector("canvas"), numbers: box.querySelector(".numbers")};
  box.querySelector("input").checked = name === "gamma_100";
  box.querySelector("input").addEventListener("input", decodeAll);
}
RECORD.axes.forEach((_, k) => {
  const id = `axis-${k}`;
  element("axes").insertAdjacentHTML("beforeend", `<div class="slider"><label for="${id}">Direction ${k + 1}</label>`
    + `<span id="${id}-value"></span><input id="${id}" type="range" min="-5" max="5" step="0.1" value="0"></div>`);
  onInput(id, decodeAll);
});

// A script with a network's weights calls this. A page opened from a folder may load scripts, but no other files.
function received(name, weights, scales) {
  decoders[name] = new Decoder(RECORD.shape, weights, scales);
  const left = Object.keys(RECORD.names).length - Object.keys(decoders).length;
  element("loading").textContent = left ? `The networks are loading, ${left} to come.` : "";
  decodeAll();
}
for (const name of Object.keys(RECORD.names)) {
  const script = document.createElement("script");
  script.src = `weights_${name}.js`;
  script.onerror = () => { element("loading").textContent = `${script.src} cannot be loaded; build the page anew.`; };
  document.body.append(script);
}

function latentVector() {
  const [a, b] = ["seed-a", "seed-b"].map((id) => normalNumbers(RECORD.shape.latent, Math.abs(slider(id))));
  const t = slider("way"), shifts = RECORD.axes.map((_, k) => slider(`axis-${k}`));
  return a.map((value, i) => (1 - t) * value + t * b[i] + shifts.reduce((sum, c, k) => sum + c * RECORD.axes[k][i], 0));
}

function decodeAll() {
  element("way-value").textContent = `t = ${fixed(slider("way"), 2)}`;
  RECORD.axes.forEach((_, k) => { element(`axis-${k}-value`).textContent = fixed(slider(`axis-${k}`), 1); });
  if (!waiting.length) requestAnimationFrame(decodeNext);
  const others = Object.keys(tiles).filter((name) => name !== shown());
  waiting = [shown(), ...others].filter((name) => decoders[name]);
}

// One network per frame, so that the page answers while a slider is moved.
function decodeNext() {
  const name = waiting.shift(), n = RECORD.shape.size;
  if (!name) return;
  const spins = decoders[name].decode(latentVector()), {canvas, numbers} = tiles[name], {D, B} = RECORD;
  paint(canvas, spins, n);
  numbers.textContent = `${fixed(energyPerSpin(spins, n, D, B), 5)} J\nQ = ${fixed(Math.round(charge(spins, n)), 0)}`;
  if (name === shown()) {
    const [a, b, t] = ["seed-a", "seed-b", "way"].map(slider);
    pictures.state.show(spins, n, D, B, `network ${RECORD.names[name]}, seeds ${a} and ${b}, t = ${t}`,
      `evae_${name}_seed_${t < 1 ? a : b}`);
  }
  if (waiting.length) requestAnimationFrame(decodeNext);
}

const newSeed = () => Math.floor(Math.random() * 1e6);
for (const button of document.querySelectorAll("[data-new]")) {
  button.addEventListener("click", () => { element(button.dataset.new).value = newSeed(); decodeAll(); });
}
for (const id of ["seed-a", "seed-b", "way"]) onInput(id, decodeAll);
element("unshift").addEventListener("click", () => {
  RECORD.axes.forEach((_, k) => { element(`axis-${k}`).value = 0; });
  decodeAll();
});

// ---- the annealer

const SIDE = 64;
const annealer = new Annealer(SIDE, slider("D"), slider("B"), newSeed());
let running = false, pending = 0;  // pending: the next frame that was asked for
let cooling = [];  // the temperatures that are still to come; none: T is that of the slider

function showLattice() {
  for (const id of ["T", "D", "B"]) element(`${id}-value`).textContent = fixed(slider(id), 2);
  element("speed-value").textContent = element("speed").value;
  const {D, B, T, sweeps, spins} = annealer;
  const at = T === Infinity ? "random" : `${fixed(T, 2)} J`;
  pictures.lattice.show(spins, SIDE, D, B, `D = ${D}, B = ${B}, T = ${at}`, `evae_annealed_D_${D}_B_${B}`);
  element("lattice-T").textContent = at;
  element("lattice-sweeps").textContent = sweeps;
  element("run").textContent = running ? "Pause" : cooling.length ? "Go on" : "Run at constant T";
}

function frame() {
  if (!running) return;
  for (let i = slider("speed"); i > 0 && running; i--) {
    const last = cooling.length === 1;
    if (cooling.length) element("T").value = cooling[0];
    annealer.sweep(cooling.length ? cooling.shift() : slider("T"));
    if (last) running = false;
  }
  showLattice();
  if (running) pending = requestAnimationFrame(frame);
  else {
    const {energy, charge: Q} = pictures.lattice;
    element("news").textContent = `Cooled: ${fixed(energy, 5)} J per spin, `
      + `topological charge ${fixed(Math.round(Q), 0)}.`;
  }
}

function start(message) {
  element("news").textContent = message;
  cancelAnimationFrame(pending);
  pending = requestAnimationFrame(frame);
  running = true;
  showLattice();
}

function randomise() {
  annealer.randomise();
  cooling = [];
  showLattice();
}

element("cool").addEventListener("click", () => {
  randomise();
  cooling = coolingTemperatures(RECORD.cooling);
  start("Cooling from a random state.");
});
element("run").addEventListener("click", () => {
  if (!running) return start(cooling.length ? "Cooling goes on." : "At the temperature of the slider.");
  running = false;
  element("news").textContent = "Paused.";
  showLattice();
});
element("random").addEventListener("click", randomise);
onInput("T", () => { cooling = []; showLattice(); });  // whoever moves T takes over from the cooling
for (const id of ["D", "B"]) onInput(id, () => { annealer[id] = slider(id); showLattice(); });
onInput("speed", showLattice);
for (const button of document.querySelectorAll("[data-couplings]")) {
  button.addEventListener("click", () => {
    const own = button.dataset.couplings === "paper" ? [RECORD.D, RECORD.B] : button.dataset.couplings.split(" ");
    ["D", "B"].forEach((id, k) => { element(id).value = own[k]; annealer[id] = slider(id); });
    showLattice();
  });
}
randomise();
decodeAll();
