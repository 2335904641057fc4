/** Return a random client_id, by which the server knows a request again. crypto.randomUUID is missing on pages without TLS. */
export function newClientId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
