// From the disk browsers start no worker, which search needs: a script in a hidden frame stands for one.
if (location.protocol === "file:")
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = Object.assign(document.createElement("iframe"), { hidden: true, srcdoc: "<body></body>" });
      this.frame = frame;
      this.ready = new Promise((done, fail) => {
        frame.onload = () => {
          const inside = frame.contentWindow;
          inside.postMessage = (data) => setTimeout(() => this.dispatchEvent(new MessageEvent("message", { data })));
          const script = inside.document.createElement("script");
          Object.assign(script, { src: new URL(url, location.href).href, onload: () => done(inside), onerror: fail });
          inside.document.body.append(script);
        };
      });
      document.body.append(frame);
    }
    postMessage(data) {
      this.ready.then((inside) => inside.dispatchEvent(new inside.MessageEvent("message", { data })));
    }
    terminate() {
      this.frame.remove();
    }
  };
