"""The chat page as a person handles it, for tests that read like what they show."""

import re

from playwright.sync_api import Locator, Page, expect

UUID = r"[0-9a-f-]{36}"
# A field may leave it to the frame around it to show the focus.
RING = """(element) => [element, element.closest("form")].filter(Boolean).some((shown) => {
    const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(shown);
    return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) || boxShadow.includes("1px");
})"""
FOCUS_KEPT = """() => {
    const held = document.activeElement;
    return held.closest("streaming-chat") && held.checkVisibility({ visibilityProperty: true, opacityProperty: true });
}"""


class ChatPage:
    """One tab with the chat."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.text = page.get_by_label("Message", exact=True)
        self.status = page.get_by_role("status")
        self.error = page.get_by_role("alert")
        self.stop = page.get_by_role("button", name="Stop")
        self.send_button = page.get_by_role("button", name="Send")
        self.model = page.get_by_role("button", name=re.compile("^Model "))
        self.effort = page.get_by_label("Reasoning effort")
        self.users = page.locator(".sc-user .sc-bubble")
        self.replies = page.locator(".sc-reply")

    def open(self, path: str = "") -> "ChatPage":
        """Open the chat below its root, and wait until its script has asked for what it shows."""
        with self.page.expect_response("**/api/models"):
            self.page.goto(f"/chat/{path}")
        return self

    def reload(self) -> None:
        with self.page.expect_response("**/api/models"):
            self.page.reload()

    def say(self, text: str) -> None:
        """Type a message and send it."""
        self.text.fill(text)
        self.text.press("Enter")

    def reply(self, number: int = -1) -> Locator:
        """Return the text of a reply, by default of the last."""
        return self.replies.nth(number).locator("[data-part=text]")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def choose_model(self, label: str) -> None:
        """Choose a model by its name."""
        self.model.click()
        self.page.get_by_role("menuitemradio", name=label).click()

    def expect_end(self, status: str = "completed") -> None:
        """Wait until the last reply has ended so."""
        expect(self.replies.last).to_have_attribute("data-status", status)
        expect(self.stop).to_be_hidden()

    def reach(self, control: Locator, key: str = "Tab") -> None:
        """Go to a control by the keyboard, and see that it shows where the keyboard is."""
        for _press in range(60):
            if control.evaluate("(element) => element === document.activeElement"):
                break
            self.page.keyboard.press(key)

        expect(control).to_be_focused()
        assert control.evaluate(RING), f"the focus cannot be seen on {control}."

    def press(self, control: Locator, key: str = "Enter", *, by: str = "Tab") -> None:
        """Go to a control by the keyboard and press it."""
        self.reach(control, by)
        self.page.keyboard.press(key)

    def expect_focus_kept(self) -> None:
        """See that the keyboard is on something of the chat that is there to see."""
        self.page.wait_for_function(FOCUS_KEPT)

    @property
    def conversation_id(self) -> str:
        return re.search(rf"/c/({UUID})$", self.page.url).group(1)
