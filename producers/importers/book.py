"""The best prices of a book of resting orders, for sources that carry orders and no quotes."""

from heapq import heappop, heappush


class Book:
    """Best bid and offer by order id. An order that reaches the other side is not resting, and does not enter."""

    def __init__(self) -> None:
        self._sides: dict[str, list[tuple[float, str]]] = {"B": [], "S": []}
        self._resting: dict[str, float] = {}

    def add(self, order: str, side: str, px: float) -> None:
        """An order arrives."""
        other = self.best("S" if side == "B" else "B")
        if other and (px >= other if side == "B" else px <= other):
            return
        self._resting[order] = px
        heappush(self._sides[side], (-px if side == "B" else px, order))

    def remove(self, order: str) -> None:
        """An order is over."""
        self._resting.pop(order, None)

    def best(self, side: str) -> float:
        """The best price of a side, 0 where nothing rests."""
        heap = self._sides[side]
        while heap and self._resting.get(heap[0][1]) != abs(heap[0][0]):
            heappop(heap)
        return abs(heap[0][0]) if heap else 0.0

    def quote(self) -> dict[str, float]:
        """The sides that there are, as fields of an event."""
        sides = {"bid": self.best("B"), "ask": self.best("S")}
        return {name: px for name, px in sides.items() if px}
