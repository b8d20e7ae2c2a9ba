// The page: pictures come in by drop, paste or choice, are sent one after another, and shown.

import { detectFaces, isShownOtherwise, loadPicture, loadSettings, Refusal } from "./client.js";
import { Stage } from "./stage.js";

const element = (id) => document.getElementById(id);
const stage = new Stage();
const slider = element("threshold");

const settings = loadSettings(); // a promise: pictures may come in before
let pictures = []; // {name, url, width, height, thumbnail, found, faces: null until they are known}
let current = null;
let waiting = []; // files
let isWorking = false;
let abort = new AbortController();

/** Takes files in, in turn; the first of them is shown when its turn comes. */
function addFiles(files) {
  element("errors").replaceChildren();
  if (!files.length) return report("There is no file in that");
  waiting.push(...[...files].map((file, index) => ({ file, isFirst: index === 0 })));
  if (!isWorking) work();
}

async function work() {
  isWorking = true;
  element("busy").hidden = false;
  const { signal } = abort;
  while (waiting.length && !signal.aborted) {
    const { file, isFirst } = waiting.shift();
    const more = waiting.length ? `, ${waiting.length} more` : "";
    element("status").textContent = `Looking for faces in ${file.name}${more} …`;
    await processFile(file, isFirst, signal).catch((error) => {
      if (!signal.aborted) report(`${file.name}: ${error.message}`);
      if (!(error instanceof Refusal || signal.aborted)) console.error(error);
    });
  }
  if (signal.aborted) return; // clear() has begun anew
  isWorking = false;
  element("busy").hidden = true;
  element("status").textContent = "";
}

async function processFile(file, isFirst, signal) {
  let picture = (await isShownOtherwise(file)) ? null : await openPicture(file, file.name);
  if (signal.aborted) return;
  if (picture) addPicture(picture, isFirst);
  try {
    const found = await detectFaces(file, await settings, signal);
    const isAsFound =
      picture && !found.frames && found.width === picture.width && found.height === picture.height;
    if (!isAsFound) {
      // A format or an orientation that this browser does not show, or an animation.
      const still = await loadPicture(file, await settings, signal);
      const shown = await openPicture(still, file.name);
      if (signal.aborted) return;
      if (!shown) throw new Refusal("this browser cannot show the picture");
      if (picture) replace(picture, shown);
      else addPicture((picture = shown), isFirst);
    }
    picture.found = found;
    picture.faces = found.faces.filter(({ frame }) => !frame);
  } catch (error) {
    if (picture && !signal.aborted) remove(picture);
    throw error;
  }
  if (picture === current) show(picture);
  else updateStrip();
}

function addPicture(picture, isFirst) {
  pictures.push(picture);
  element("strip").append(picture.thumbnail);
  if (isFirst || !current) show(picture);
  else updateStrip();
}

/** Shows another picture, just opened, in the place of one. */
function replace(picture, { url, width, height }) {
  URL.revokeObjectURL(picture.url);
  Object.assign(picture, { url, width, height });
  picture.thumbnail.querySelector("img").src = url;
}

/** The picture of a file or blob as the browser shows it (upright), or null if it cannot. */
async function openPicture(blob, name) {
  const image = new Image();
  const url = URL.createObjectURL(blob);
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    return null;
  }
  const { naturalWidth: width, naturalHeight: height } = image;
  const picture = { name, url, width, height, found: null, faces: null };
  picture.thumbnail = makeThumbnail(picture);
  return picture;
}

function show(picture) {
  current = picture;
  element("welcome").hidden = Boolean(picture);
  element("viewer").hidden = !picture;
  element("add").hidden = element("clear").hidden = !picture;
  updateStrip();
  if (!picture) return;
  element("name").textContent = element("name").title = picture.name;
  const frames = picture.found?.frames?.length;
  const which = frames ? `, first of ${frames} frames` : "";
  element("size").textContent = `${picture.width} × ${picture.height} pixels${which}`;
  element("download").disabled = !picture.faces;
  stage.show(picture);
  applyThreshold();
}

/** Shows the faces whose score the slider allows. No request: they are all there. */
function applyThreshold() {
  element("score").textContent = Number(slider.value).toFixed(2);
  if (!current?.faces) {
    element("count").textContent = current ? "Looking for faces …" : "";
    return;
  }
  const number = facesAbove().length;
  element("count").textContent = number === 1 ? "1 face" : `${number} faces`;
  stage.showFirst(number);
}

const isAbove = ({ score }) => score >= Number(slider.value);
const facesAbove = () => current.faces.filter(isAbove);

/** Saves what is shown, as srn-d2 detect writes a picture's entry in faces.json. */
function download() {
  const { name, found } = current;
  const record = { file_name: name, ...found, faces: found.faces.filter(isAbove) };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(
    new Blob([JSON.stringify(record, null, 2) + "\n"], { type: "application/json" }),
  );
  link.download = `${name.replace(/\.[^.]*$/, "")}.faces.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The strip of pictures: which is shown, and which still wait for their faces. */
function updateStrip() {
  element("strip").hidden = pictures.length < 2;
  for (const { thumbnail, faces } of pictures) {
    thumbnail.classList.toggle("pending", !faces);
    thumbnail.removeAttribute("aria-current");
  }
  current?.thumbnail.setAttribute("aria-current", "true");
}

function makeThumbnail(picture) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = picture.name;
  const image = new Image();
  image.src = picture.url;
  image.alt = picture.name;
  button.append(image);
  button.addEventListener("click", () => show(picture));
  return button;
}

function remove(picture) {
  URL.revokeObjectURL(picture.url);
  picture.thumbnail.remove();
  pictures = pictures.filter((other) => other !== picture);
  if (picture === current) show(pictures.at(-1) ?? null);
  else updateStrip();
}

/** Forgets all pictures, and what is still in work. */
function clear() {
  abort.abort();
  abort = new AbortController();
  waiting = [];
  isWorking = false;
  element("busy").hidden = true;
  element("status").textContent = "";
  element("errors").replaceChildren();
  pictures.forEach(({ url }) => URL.revokeObjectURL(url));
  pictures = [];
  element("strip").replaceChildren();
  show(null);
  element("choose").focus();
}

function report(message) {
  const line = document.createElement("p");
  line.textContent = message;
  element("errors").append(line);
}

function listen() {
  const input = element("files");
  for (const id of ["choose", "add"]) element(id).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    addFiles(input.files);
    input.value = ""; // so that the same file can be chosen again
  });
  slider.addEventListener("input", applyThreshold);
  element("download").addEventListener("click", download);
  element("clear").addEventListener("click", clear);
  document.addEventListener("paste", ({ clipboardData }) => addFiles(clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("dropping");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    addFiles(event.dataTransfer.files);
  });
}

/** Sets the page up as the server's settings say. */
async function setUp() {
  const { formats, lowest_threshold, max_bytes, max_pixels, threshold } = await settings;
  slider.min = lowest_threshold;
  slider.max = 1;
  slider.value = threshold;
  const names = `${formats.join(", ")} and others`;
  const limits = `up to ${max_bytes / 1e6} MB and ${max_pixels / 1e6} megapixels`;
  element("limits").textContent = `${names}; ${limits}. Nothing is stored.`;
}

listen();
setUp().catch((error) => report(error.message));
