"""The page as a test uses it: by what people see and press."""

import time

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

SECONDS = 20
DESKTOP, PHONE = (1280, 800), (360, 640)


class Page:
    """One tab. Its server is that of `client`."""

    def __init__(self, driver, client):
        self.driver = driver
        self.client = client
        self.url = f"http://{client.host}:{client.port}/"
        self.resize(*DESKTOP)
        self.emulate("light")

    def open(self, *, ready=True):
        self.driver.get(self.url)
        if ready:
            self.until(lambda: self.one("#state").get_attribute("data-state") == "ready")

    def resize(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def emulate(self, scheme):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        return [each.text for each in self.all(selector)]

    def script(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def press(self, *keys):
        self.driver.switch_to.active_element.send_keys(*keys)

    def say(self, text):
        self.one("#question").send_keys(text, Keys.ENTER)

    def focused(self):
        return self.script("return document.activeElement.id")

    def until(self, condition):
        """Wait for a condition; its last value is in the failure."""
        end = time.monotonic() + SECONDS
        while not (value := condition()):
            assert time.monotonic() < end, value
            time.sleep(0.02)

    def answered(self):
        """Wait until no answer is coming."""
        self.until(lambda: self.one("#send").text == "Send")

    def logged(self):
        """What the browser complained of, such as something that the CSP forbids."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "status of 4" not in entry["message"] and "status of 5" not in entry["message"]
        ]
