"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const player = document.getElementById("player");
  const slider = document.getElementById("timeline");
  const now = document.getElementById("now");
  const body = document.querySelector("#windows tbody");
  const PAGE_SECONDS = 30;
  const svg = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const x = (second) => (1000 * second) / data.seconds;
  const clock = (seconds) => {
    const whole = Math.floor(seconds);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  };

  const exact = (seconds) => {
    const tenths = Math.round(10 * seconds);
    const text = clock(Math.floor(tenths / 10));
    return tenths % 10 ? `${text}.${tenths % 10}` : text;
  };

  // The table, of the same numbers as the bands, so that the page holds each of them once.
  const isTold = data.speakers.some(Boolean);
  const rows = data.windows.map(([start, end, ...shares], place) => {
    const row = document.createElement("tr");
    row.dataset.place = place;
    const cell = (text, value) => {
      const element = row.insertCell();
      if (value === undefined) element.className = "text";
      else element.dataset.value = value;
      element.textContent = text;
      return element;
    };
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.at = start;
    button.textContent = exact(start);
    button.setAttribute("aria-label", `Play from ${exact(start)}`);
    cell("", start).append(button);
    cell(exact(end), end);
    if (isTold) cell(data.speakers[place] ?? "");
    cell(data.classes[data.emotions[place]] ?? "");
    shares.forEach((share) => cell((100 * share).toFixed(1), share));
    return row;
  });
  const rowAt = [...rows];
  body.append(...rows);

  // Waveform: the largest sample of each of many short parts, mirrored around the middle.
  const peaks = Uint8Array.from(atob(data.peaks), (c) => c.charCodeAt(0));
  const edge = (sign) => [...peaks].map((peak, i) => {
    const half = Math.max(0.5, (29 * peak) / 255);
    return `${((1000 * i) / peaks.length).toFixed(1)} ${(30 + sign * half).toFixed(1)}`;
  });
  const outline = [...edge(-1), ...edge(1).reverse()].join("L");
  document.getElementById("wave").prepend(svg("path", { d: `M${outline}z`, class: "wave" }));

  // Bands: where windows overlap, the one that started last; nothing is drawn where none is.
  const edges = [...new Set(data.windows.flatMap((w) => w.slice(0, 2)))].sort((a, b) => a - b);
  const pieces = [];
  const open = [];
  let coming = 0;
  edges.slice(0, -1).forEach((from, k) => {
    while (data.windows[coming]?.[0] <= from) open.push(coming++);
    while (open.length && data.windows[open.at(-1)][1] <= from) open.pop();
    if (!open.length) return;
    const last = pieces.at(-1);
    if (last?.i === open.at(-1) && last.till === from) last.till = edges[k + 1];
    else pieces.push({ i: open.at(-1), from, till: edges[k + 1] });
  });
  const bands = document.getElementById("bands");
  const paths = data.classes.map(() => "");
  pieces.forEach(({ i, from, till }) => {
    let below = 100;
    data.windows[i].slice(2).forEach((share, c) => {
      const height = 100 * share;
      paths[c] += `M${x(from).toFixed(2)} ${(below - height).toFixed(2)}` +
        `H${x(till).toFixed(2)}v${height.toFixed(2)}H${x(from).toFixed(2)}z`;
      below -= height;
    });
  });
  paths.forEach((d, c) => bands.append(svg("path", { d, fill: data.colors[c] })));
  bands.append(svg("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: 100 }));
  const heads = document.querySelectorAll(".head");

  const windowAt = (second) => {
    let found = -1;
    data.windows.forEach(([start, end], i) => {
      if (start <= second && second < end) found = i;
    });
    return found;
  };
  let marked = null;
  const show = () => {
    const second = Math.min(player.currentTime, data.seconds);
    const i = windowAt(second);
    heads.forEach((head) => ["x1", "x2"].forEach((end) => head.setAttribute(end, x(second))));
    let text = `${clock(second)}: nothing predicted here`;
    if (i >= 0) {
      const shares = data.windows[i].slice(2).map((share, c) => [share, data.classes[c]]);
      shares.sort((a, b) => b[0] - a[0]);
      const speaker = data.speakers[i] ? `${data.speakers[i]}, ` : "";
      text = `${clock(second)}: ${speaker}` +
        shares.slice(0, 3).map(([share, name]) => `${name} ${Math.round(100 * share)} %`).join(", ");
    }
    now.textContent = text;
    slider.setAttribute("aria-valuenow", second.toFixed(1));
    slider.setAttribute("aria-valuetext", text);
    const row = i < 0 ? null : rowAt[i];
    if (row !== marked) {
      if (marked) marked.removeAttribute("aria-current");
      if (row) row.setAttribute("aria-current", "true");
      marked = row;
    }
  };
  const follow = () => {
    show();
    if (!player.paused && !player.ended) requestAnimationFrame(follow);
  };
  const seek = (second) => {
    player.currentTime = Math.max(0, Math.min(second, data.seconds - 0.01));
    show();
  };
  ["seeked", "timeupdate", "pause", "loadedmetadata"].forEach((e) => player.addEventListener(e, show));
  player.addEventListener("play", follow);

  slider.addEventListener("pointerdown", (event) => {
    const box = slider.getBoundingClientRect();
    seek((data.seconds * (event.clientX - box.left)) / box.width);
  });
  slider.addEventListener("keydown", (event) => {
    const second = player.currentTime;
    const starts = data.windows.map((w) => w[0]);
    const onward = () => starts.find((s) => s > second + 0.05) ?? second;
    const back = () => starts.filter((s) => s < second - 0.05).pop() ?? 0;
    const targets = {
      ArrowRight: onward,
      ArrowUp: onward,
      ArrowLeft: back,
      ArrowDown: back,
      PageUp: () => second + PAGE_SECONDS,
      PageDown: () => second - PAGE_SECONDS,
      Home: () => 0,
      End: () => starts[starts.length - 1],
    };
    if (event.key === " " || event.key === "Enter") {
      player.paused ? player.play().catch(() => {}) : player.pause();
    } else if (event.key in targets) {
      seek(targets[event.key]());
    } else {
      return;
    }
    event.preventDefault();
  });

  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[event.key];
    if (!next) return;
    next.querySelector("button").focus();
    event.preventDefault();
  });
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    seek(Number(button.dataset.at));
    player.play().catch(() => {});
  });
  document.querySelectorAll("#windows thead button").forEach((button) => {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const column = [...head.parentElement.children].indexOf(head);
      const number = head.dataset.kind === "number";
      const first = number && column > 1 ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      document.querySelectorAll("#windows thead th").forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => {
        const cell = row.children[column];
        return number ? Number(cell.dataset.value) : cell.textContent.trim();
      };
      rows.sort((a, b) => {
        const [u, v] = [value(a), value(b)];
        return sign * (u < v ? -1 : u > v ? 1 : 0) || a.dataset.place - b.dataset.place;
      });
      body.append(...rows);
    });
  });

  const chooser = document.getElementById("choose");
  if (chooser) {
    chooser.addEventListener("change", () => {
      if (chooser.files.length) player.src = URL.createObjectURL(chooser.files[0]);
    });
  }
  show();
})();
