// Requests to the server. A refused request throws an Error with the message of the server.

/** @returns {Promise<{studies: {name: string, storage: string | null}[], exports: string}>} */
export function studyList() {
  return request("api/studies");
}

/**
 * @param {string} name the name of a study; empty for the first study
 * @param {string} [since] the revision to update from
 * @returns {Promise<any>} a document or an update; null if nothing has changed or the study does
 *   not exist yet
 */
export function studyDocument(name, since) {
  const query = new URLSearchParams(since === undefined ? { name } : { name, since });
  return request(`api/study?${query}`);
}

/** @param {string} name @returns {Promise<any>} */
export function studyWhy(name) {
  return request(`api/why?${new URLSearchParams({ name })}`);
}

/** @param {string} study @param {string} trial @param {string} format */
export function writeExport(study, trial, format) {
  const token = document.querySelector('meta[name="nas-token"]').getAttribute("content");
  return request("api/export", {
    method: "POST",
    headers: { "content-type": "application/json", "x-nas-token": token },
    body: JSON.stringify({ study, trial, format }),
  });
}

async function request(address, options = {}) {
  const response = await fetch(address, { cache: "no-store", ...options });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}
