"""An isolated model in an app that a tool froze: the app is its own child process."""

import os
import subprocess
import sys

APP = """#!{python}
import sys
sys.path[:0] = {path!r}
sys.executable = __file__
sys.frozen = True
import gritlite
gritlite.freeze_support()
with open({starts!r}, "a") as file:
    file.write("started\\n")
message = {{"role": "user", "content": "a"}}
with gritlite.IsolatedGritLM({model!r}, threads=1) as model:
    print(model.encode("a").shape, type(model.chat([message], max_tokens=2)))
"""


def test_it_runs_in_an_app_and_so_does_the_first_decode_that_it_tries(tiny_path, tmp_path):
    """Nothing is known of llama.cpp on this machine, so the model's process starts the probe."""
    app, starts = tmp_path / "notes", tmp_path / "starts"
    app.write_text(
        APP.format(python=sys.executable, path=sys.path, starts=str(starts), model=str(tiny_path))
    )
    app.chmod(0o755)
    environment = {**os.environ, "GRITLITE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([app], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.stdout, done.stderr) == ("(64,) <class 'str'>\n", "")
    assert starts.read_text() == "started\n"
    assert list((tmp_path / "cache").glob("probe.json"))
