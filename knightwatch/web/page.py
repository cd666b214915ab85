"""The page of one viewer: the live board, log-in, and the dialogs of halt, resume and approve (NiceGUI)."""

from collections.abc import Callable
from typing import Any, Final

from nicegui import Client, events, run, ui
from nicegui.element import Element

from halts.gate_state import latched
from knightwatch.web.actions import Connect, Order, Outcome, carry_out
from knightwatch.web.frames import Shared, View
from knightwatch.web.operators import LogInError, Operator, Operators, Sessions
from knightwatch.web.story import Scope
from knightwatch.web.words import escape
from schemas.scopes import parse

VERBS: Final = ("halt", "resume", "approve")
HALT_DOES: Final = (
    "Nothing is sent any more and working orders are cancelled. It stays so until it is reopened by the rules."
)
RESUME_DOES: Final = (
    "You ask for it to reopen. Firm and routers stay halted until a second person approves; then only orders that reduce "
    "a position pass for a while."
)


class Board(Element, component="board.js"):
    """The live part; the browser draws it from frames."""

    def __init__(self, first: dict[str, Any] | None) -> None:
        super().__init__()
        self._props["first"] = first


class Page:
    """One browser tab. shared: the newest picture. Everything that acts goes through ``carry_out``."""

    def __init__(
        self, client: Client, session_id: str, operators: Operators, sessions: Sessions, connect: Connect,
        shared: Callable[[], Shared], open_to_all: bool,
    ) -> None:  # fmt: skip
        self.client, self.session_id = client, session_id
        self._operators, self._sessions, self._connect, self._shared = operators, sessions, connect, shared
        self._open_to_all = open_to_all
        self._view = View()
        self._wanted: dict[str, Any] | None = None
        self.board = Board(self._frame() if self._may_view() else None)
        self.board.on("act", self._act)
        self.board.on("pick", self._pick)
        self._log_in = LogIn(self._try_log_in)
        self._ask = Ask(self._do)
        if not self._may_view():
            self._log_in.open()

    def push(self) -> None:
        """Send what is new."""
        if not self.client.has_socket_connection:
            return
        if self._may_view():
            self.board.run_method("apply", self._frame())
        elif self._view.sent:  # the log-in has ended, and with it the right to look
            self._view.sent.clear()
            self.client.run_javascript("location.reload()")

    def _may_view(self) -> bool:
        return self._open_to_all or self._operator() is not None

    def _operator(self, acts: bool = False) -> Operator | None:
        return self._sessions.operator(self.session_id, acts)

    def _frame(self) -> dict[str, Any]:
        operator = self._operator()
        label = f"{escape(operator.name)}: log out" if operator else "Log in"
        button = (
            f'<button class="small" id="login" data-verb="login" aria-keyshortcuts="l">{label}<kbd>l</kbd></button>'
        )
        return self._view.frame(self._shared(), button)

    # --- what a person does -----------------------------------------------------------------------------------------

    def _pick(self, event: events.GenericEventArguments) -> None:
        self._view.chosen = str(event.args)[:64]
        self.push()

    def _act(self, event: events.GenericEventArguments) -> None:
        wanted = event.args if isinstance(event.args, dict) else {}
        operator = self._operator(acts=True)
        if wanted.get("verb") == "login":
            self._wanted = None  # what was wanted before another log-in is not what is wanted now
            if operator is None:
                self._log_in.open()
            else:
                self._sessions.end(self.session_id)
                self.push()
        elif wanted.get("verb") in VERBS:
            if operator is None:
                self._wanted = wanted
                self._log_in.open(f"{str(wanted['verb']).capitalize()} {wanted.get('scope')}: who are you?")
            else:
                self._open(wanted, operator)

    async def _try_log_in(self, name: str, passphrase: str, key_file: bytes | None) -> str:
        """The problem, or nothing."""
        try:
            operator = await run.io_bound(self._operators.log_in, name, passphrase, key_file)
        except LogInError as error:
            return str(error)
        assert operator is not None, "log_in returns an operator or raises"
        could_view = self._may_view()
        self._sessions.start(self.session_id, operator)
        if not could_view:
            self._view.sent.clear()
        self.push()
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            self._open(wanted, operator)
        return ""

    def _open(self, wanted: dict[str, Any], operator: Operator) -> None:
        verb, name, epoch = wanted["verb"], str(wanted.get("scope")), wanted.get("epoch")
        try:
            parse(name)
        except ValueError:
            return  # no page of ours sends that
        picture = self._shared().picture
        scope = picture.scopes.get(name, Scope(name))
        request = scope.request
        stop = _cannot(verb, scope, operator)
        order = Order(
            verb, name, "", str(wanted.get("halt_id", "")), epoch if isinstance(epoch, int) else 0,
            request.command_id if request else "",
        )  # fmt: skip
        asked = f"{request.by} asked: “{request.reason}”. You agree, having looked for yourself." if request else ""
        text = {"halt": HALT_DOES, "resume": RESUME_DOES}.get(verb, asked)
        self._ask.open(order, operator.name, text, stop, offer_direct=verb == "halt" and not picture.alive)

    async def _do(self, order: Order) -> Outcome:
        operator = self._operator(acts=True)
        if operator is None:
            return Outcome(False, "Not sent", "Your log-in has ended: log in again, then repeat it.")
        outcome = await run.io_bound(carry_out, order, operator, self._connect)
        assert outcome is not None, "the server is shutting down"
        self.push()
        return outcome


def _cannot(verb: str, scope: Scope, operator: Operator) -> str:
    """Why it cannot be done at all, as far as this page knows; empty if it can. The desk decides again."""
    if verb == "halt":
        return ""
    if scope.record is None or not latched(scope.record):
        return f"{scope.name} is {scope.state}, not halted."
    if verb == "approve" and scope.request is None:
        return "Nobody asks to reopen this scope."
    if verb == "approve" and scope.request is not None and scope.request.by.casefold() == operator.name.casefold():
        return "You asked for this yourself: another person must approve it."
    return ""


class LogIn:
    """The dialog that asks who it is."""

    def __init__(self, attempt: Callable[[str, str, bytes | None], Any]) -> None:
        self._attempt = attempt
        self._file: bytes | None = None
        with ui.dialog() as self._dialog, ui.card().classes("kwdialog"):
            self._title = ui.label().classes("title")
            self._name = ui.input("Operator").props('autofocus autocomplete="username" dark outlined id="login-name"')
            self._pass = ui.input("Passphrase of your key", password=True).props(
                'autocomplete="current-password" dark outlined id="login-pass"'
            )
            self._pass.on("keydown.enter", self._submit)
            with ui.expansion("My key is not kept here: bring the file").classes("w-full soft"):
                ui.upload(auto_upload=True, max_file_size=8_192, max_files=1, on_upload=self._brought).props(
                    "flat dark"
                )
            self._said = ui.label().classes("said bad").props('role="alert"')
            with ui.row():
                ui.button("Log in", on_click=self._submit).props("color=white text-color=black no-caps unelevated")
                ui.button("Close", on_click=self._dialog.close).props("flat color=white no-caps")

    def open(self, title: str = "Log in") -> None:
        """Ask."""
        self._title.text, self._said.text = title, ""
        self._said.set_visibility(False)
        self._pass.value = ""
        self._dialog.open()

    async def _brought(self, event: events.UploadEventArguments) -> None:
        self._file = await event.file.read()

    async def _submit(self) -> None:
        problem = await self._attempt(self._name.value or "", self._pass.value or "", self._file)
        self._pass.value, self._file = "", None
        if problem:
            self._said.text = problem
            self._said.set_visibility(True)
        else:
            self._dialog.close()


class Ask:
    """The dialog that asks for the reason, sends, and shows what came of it."""

    def __init__(self, do: Callable[[Order], Any]) -> None:
        self._do = do
        self._order: Order | None = None
        with ui.dialog() as self._dialog, ui.card().classes("kwdialog"):
            self._title = ui.label().classes("title")
            self._text = ui.label()
            self._reason = ui.input("Why, in words (goes to the audit)").props('autofocus dark outlined id="reason"')
            self._reason.on("keydown.enter", self._submit)
            self._direct = ui.checkbox("The desk is silent: write the halt to the topic directly").props("dark")
            self._said = ui.label().classes("said").props('role="alert"')
            self._by = ui.label().classes("soft")
            with ui.row():
                self._send = ui.button(on_click=self._submit).props("color=white text-color=black no-caps unelevated")
                ui.button("Close", on_click=self._dialog.close).props("flat color=white no-caps")

    def open(self, order: Order, by: str, text: str, stop: str, offer_direct: bool) -> None:
        """Ask. stop: why it cannot be done at all; empty if it can."""
        self._order = order
        verb = {"halt": "Halt", "resume": "Ask to reopen", "approve": "Approve reopening"}[order.verb]
        self._title.text = f"{verb}: {order.scope}"
        self._text.text, self._by.text = text, f"Signed as {by}."
        self._reason.value, self._direct.value = "", offer_direct
        self._direct.set_visibility(offer_direct)
        self._send.text = verb
        self._tell(stop, good=False)
        self._may_send(not stop)
        self._dialog.open()

    def _tell(self, text: str, good: bool) -> None:
        self._said.text = text
        self._said.set_visibility(bool(text))
        self._said.classes(replace=f"said {'good' if good else 'bad'}")

    def _may_send(self, yes: bool) -> None:
        self._send.set_visibility(yes)
        self._reason.set_visibility(yes)

    async def _submit(self) -> None:
        if self._order is None or not self._send.visible or not self._send.enabled:
            return
        self._send.disable()
        self._tell("Sent. Waiting for the desk …", good=True)
        order = Order(
            self._order.verb, self._order.scope, self._reason.value or "", self._order.halt_id, self._order.epoch,
            self._order.approves, bool(self._direct.value) and self._order.verb == "halt",
        )  # fmt: skip
        outcome: Outcome = await self._do(order)
        self._send.enable()
        self._tell(f"{outcome.title}. {outcome.text}", outcome.done)
        if outcome.done:
            self._may_send(False)
