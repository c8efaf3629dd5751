"""Run page_webview.py, use its page, and print what is seen there as JSON.

Usage: drive_page.py EXAMPLES answer|close|hold|text MODEL
"""

import json
import queue
import sys
import threading
import time

examples, task, model = sys.argv[1:]
sys.path.insert(0, examples)
sys.argv[1:] = [model]

import page_webview  # noqa: E402
import webview  # noqa: E402

SEEN = """JSON.stringify({
    address: location.href,
    state: document.getElementById("state")?.dataset.state ?? "",
    send: document.getElementById("send")?.textContent ?? "",
    text: document.body?.textContent ?? "",
    questions: [...document.querySelectorAll(".question")].map((each) => each.textContent),
    answers: [...document.querySelectorAll(".answer .text")].map((each) => each.textContent),
    failures: [...document.querySelectorAll(".failure")].map((each) => each.textContent),
})"""
PRESS = "document.getElementById('send').click()"
ASK = "document.getElementById('question').value = 'Why do leaves look green?'"


def use():
    """In a thread: what a person would do."""
    while not webview.windows:
        time.sleep(0.01)
    window = webview.windows[0]
    if task == "close":
        window.events.loaded.wait()
    elif task == "text":
        print(json.dumps(until(window, lambda page: "ended" in page["text"])["text"]), flush=True)
    else:
        until(window, lambda page: page["state"] == "ready")
        if task == "hold":
            print('"ready"', flush=True)
            return
        window.run_js(f"{ASK}; {PRESS}")
        until(window, lambda page: "".join(page["answers"]))
        window.run_js(PRESS)  # Stop, unless the answer has ended
        print(json.dumps(until(window, lambda page: page["send"] == "Send")), flush=True)
    window.destroy()


def until(window, condition):
    """Wait until the page is as it should be; return what is seen there."""
    while True:
        seen = look(window)
        if seen and condition(page := json.loads(seen)):
            return page
        time.sleep(0.05)


def look(window):
    """What is seen on the page; nothing while another one comes, which may never answer."""
    answers = queue.Queue()
    threading.Thread(target=lambda: answers.put(window.run_js(SEEN)), daemon=True).start()
    try:
        return answers.get(timeout=5)
    except queue.Empty:
        return None


threading.Thread(target=use, daemon=True).start()
page_webview.main()
