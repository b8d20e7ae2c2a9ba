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
 * The faces of a picture, {height, width, faces: [{bbox, score}, ...]}, best first; of an animation
 * or of pages those of all frames, each with its "frame", and "frames".
 *
 * Throws a Refusal, or an AbortError once the signal is given.
 */
export async function detectFaces(file, settings, signal) {
  await check(file, settings);
  const url = `detect?threshold=${settings.lowest_threshold}`;
  const response = await request(url, { method: "POST", body: file, signal });
  return response.json();
}

/** The picture as the server sees it, upright, its first frame: a blob that browsers show. */
export async function loadPicture(file, settings, signal) {
  await check(file, settings);
  const response = await request("picture", { method: "POST", body: file, signal });
  return response.blob();
}

async function check(file, settings) {
  if (file.size > settings.max_bytes) {
    // Not sent: the server would refuse it when it is half through.
    throw new Refusal(`the file is larger than the limit of ${settings.max_bytes / 1e6} MB`);
  }
  if ((await head(file)) === null) throw new Refusal("it is a folder, or cannot be read");
}

/**
 * Whether browsers may show a file otherwise than the server sees it: a WebP picture with EXIF
 * metadata, which the server turns as its orientation says and Chromium does not.
 */
export async function isShownOtherwise(file) {
  const bytes = await head(file);
  // RIFF container, extended format, whose flags follow the chunk's size.
  const isExtendedWebP = bytes && String.fromCharCode(...bytes.slice(8, 16)) === "WEBPVP8X";
  return Boolean(isExtendedWebP && bytes[20] & WEBP_HAS_EXIF);
}

/** The first bytes of a file; null if it cannot be read. */
async function head(file) {
  return file
    .slice(0, 21)
    .arrayBuffer()
    .then((buffer) => new Uint8Array(buffer))
    .catch(() => null);
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
