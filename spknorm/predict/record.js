"use strict";
(() => {
  const RATE = 16000;
  const button = document.getElementById("record");
  const chooser = document.getElementById("file");
  const status = document.getElementById("status");
  const idle = button.textContent;
  let recorder = null;

  const say = (text, bad = false) => {
    status.textContent = text;
    status.classList.toggle("bad", bad);
  };
  const busy = (is) => [button, chooser].forEach((one) => { one.disabled = is; });

  const send = async (sound, name) => {
    busy(true);
    say("The recording is listened to …");
    try {
      const answer = await fetch(`/predict?name=${encodeURIComponent(name)}`, { method: "POST", body: sound });
      const text = (await answer.text()).trim();
      if (answer.ok) {
        location.assign(text);
        return;
      }
      say(text, true);
    } catch (error) {
      say(`The server does not answer: ${error.message}`, true);
    }
    busy(false);
  };

  // What the browser records is its own business (WebM, MP4): it is sent as WAV, which all read.
  const toWav = async (blob) => {
    const context = new AudioContext();
    const heard = await context.decodeAudioData(await blob.arrayBuffer());
    await context.close();
    const length = Math.max(1, Math.round(heard.duration * RATE));
    const offline = new OfflineAudioContext(1, length, RATE);
    const source = offline.createBufferSource();
    source.buffer = heard;
    source.connect(offline.destination);
    source.start();
    const samples = (await offline.startRendering()).getChannelData(0);
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF");
    view.setUint32(4, 36 + 2 * samples.length, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true);
    view.setUint16(20, 1, true);
    view.setUint16(22, 1, true);
    view.setUint32(24, RATE, true);
    view.setUint32(28, 2 * RATE, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, 2 * samples.length, true);
    samples.forEach((sample, i) => {
      view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
    });
    return new Blob([view.buffer], { type: "audio/wav" });
  };

  const record = async () => {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch (error) {
      say(`There is no microphone to record from: ${error.message}`, true);
      return;
    }
    const parts = [];
    const started = Date.now();
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", async () => {
      clearInterval(clock);
      stream.getTracks().forEach((track) => track.stop());
      recorder = null;
      button.textContent = idle;
      try {
        await send(await toWav(new Blob(parts, { type: parts[0].type })), "recording.wav");
      } catch (error) {
        say(`The recording cannot be read: ${error.message}`, true);
      }
    });
    recorder.start();
    button.textContent = "Stop, and predict";
    const tell = () => say(`Recording: ${Math.round((Date.now() - started) / 1000)} s`);
    const clock = setInterval(tell, 1000);
    tell();
  };

  button.addEventListener("click", () => {
    if (recorder) recorder.stop();
    else record();
  });
  chooser.addEventListener("change", () => {
    if (chooser.files.length) send(chooser.files[0], chooser.files[0].name);
  });
  if (!navigator.mediaDevices) {
    button.disabled = true;
    say("A browser gives its microphone to pages of its own machine, or over https, alone.");
  }
})();
