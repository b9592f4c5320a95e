/* Browsers start no worker from a file. There the search runs in a hidden frame instead,
   which speaks to the page as a worker would. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.frame = frame
      window.addEventListener("message", event => {
        if (event.source === frame.contentWindow) this.hear(event.data)
      })
      const inside = frame.contentDocument
      inside.open()
      inside.write(
        "<script>postMessage = message => parent.postMessage(message, '*');" +
          "importScripts = (...urls) => urls.reduce((after, url) => after.then(() =>" +
          "new Promise(resolve => { const script = document.createElement('script');" +
          "script.src = url; script.onload = resolve; document.head.appendChild(script)" +
          "})), Promise.resolve())</scr" + "ipt>" +
          "<script src='" + url + "'></scr" + "ipt>"
      )
      inside.close()
      const ready = () => {
        this.ready = true
        this.waiting.forEach(message => this.postMessage(message))
      }
      frame.contentWindow.addEventListener("load", ready)
    }
    hear(data) {
      const event = new MessageEvent("message", { data })
      this.dispatchEvent(event)
      if (this.onmessage) this.onmessage(event)
    }
    postMessage(message) {
      if (!this.ready) this.waiting.push(message)
      else
        this.frame.contentWindow.dispatchEvent(
          new MessageEvent("message", { data: message })
        )
    }
    terminate() {
      this.frame.remove()
    }
  }
}
