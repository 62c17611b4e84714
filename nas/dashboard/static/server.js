// What the page asks its server for; a refusal is an Error with the server's sentence.

/** @returns {Promise<{studies: {name: string, storage: string | null}[], exports: string}>} */
export function studyList() {
  return asked("api/studies");
}

/**
 * @param {string} name the first study where it is empty
 * @param {string} [since] a revision
 * @returns {Promise<any>} a document, an update, or null where nothing has changed, or the study is not begun
 */
export function studyDocument(name, since) {
  const query = new URLSearchParams(since === undefined ? { name } : { name, since });
  return asked(`api/study?${query}`);
}

/** @param {string} name @returns {Promise<any>} */
export function studyWhy(name) {
  return asked(`api/why?${new URLSearchParams({ name })}`);
}

/** @param {string} study @param {string} trial @param {string} format */
export function writeExport(study, trial, format) {
  const token = document.querySelector('meta[name="nas-token"]').getAttribute("content");
  return asked("api/export", {
    method: "POST",
    headers: { "content-type": "application/json", "x-nas-token": token },
    body: JSON.stringify({ study, trial, format }),
  });
}

async function asked(address, options = {}) {
  const response = await fetch(address, { cache: "no-store", ...options });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
