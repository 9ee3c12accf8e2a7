// Server-sent events of a reply that is read by hand: EventSource can neither post nor send a key.

/** The data of each event, until the stream ends. Comments are skipped. */
export async function* eventsOf(stream) {
  let begun = "";
  for await (const text of texts(stream)) {
    const lines = (begun + text).split("\n");
    begun = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ")) yield line.slice("data: ".length).trimEnd();
    }
  }
}

async function* texts(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
