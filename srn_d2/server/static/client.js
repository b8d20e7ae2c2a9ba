// The server's interface: settings, and the faces of a picture.

const ATTEMPTS = 30; // while other pictures keep the server busy
const WEBP_HAS_EXIF = 0x08;

/** An answer that is an error; the message is for people. */
export class Refusal extends Error {}

/** The limits and thresholds of the server: see GET /settings in app.py. */
export async function loadSettings() {
  return (await request("settings")).json();
}

/**
 * The faces of a picture, {height, width, faces: [{bbox, score}, ...]}, best first.
 *
 * Throws a Refusal, or an AbortError once the signal is given.
 */
export async function detectFaces(file, settings, signal) {
  if (file.size > settings.max_bytes) {
    // Not sent: the server would refuse it when it is half through.
    throw new Refusal(`the file is larger than the limit of ${settings.max_bytes / 1e6} MB`);
  }
  const body = await asShown(file);
  const url = `detect?threshold=${settings.lowest_threshold}`;
  const response = await request(url, { method: "POST", body, signal });
  return response.json();
}

/**
 * The file, or what it shows drawn anew: a WebP picture with EXIF metadata, which the server turns
 * as its orientation says and Chromium does not. Of other formats they agree.
 */
async function asShown(file) {
  let head;
  try {
    head = new Uint8Array(await file.slice(0, 21).arrayBuffer());
  } catch {
    throw new Refusal("it is a folder, or cannot be read");
  }
  // RIFF container, extended format, whose flags follow the chunk's size.
  const isExtendedWebP = String.fromCharCode(...head.slice(8, 16)) === "WEBPVP8X";
  if (!isExtendedWebP || !(head[20] & WEBP_HAS_EXIF)) return file;
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return file; // the server says why
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

async function request(url, options = {}, attempts = ATTEMPTS) {
  let response;
  try {
    response = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("the server does not answer: is srn-d2 serve still running?");
  }
  if (response.ok) return response;
  const retryAfter = response.headers.get("Retry-After");
  if (retryAfter && attempts > 1) {
    await wait(1000 * Number(retryAfter));
    return request(url, options, attempts - 1);
  }
  const answer = await response.json().catch(() => ({}));
  throw new Refusal(answer.message ?? `the server answers ${response.status}`);
}

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
