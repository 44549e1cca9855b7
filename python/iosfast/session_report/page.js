"use strict";
// A click on a picture enlarges it; a video that plays stops the others.
const large = document.getElementById("large");
const within = large.querySelector("img");
for (const picture of document.querySelectorAll(".plate img")) {
  picture.tabIndex = 0;
  picture.setAttribute("role", "button");
  const show = () => {
    within.src = picture.src;
    within.alt = picture.alt;
    large.showModal();
  };
  picture.addEventListener("click", show);
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      show();
    }
  });
}
large.addEventListener("click", () => large.close());
const videos = document.querySelectorAll("video");
for (const video of videos) {
  video.addEventListener("play", () => {
    for (const other of videos) if (other !== video) other.pause();
  });
}
