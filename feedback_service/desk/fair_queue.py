"""The rows that wait for a coach: in turn by session, then by environment, within one oldest first."""

from __future__ import annotations

from collections import OrderedDict

from feedback_service.desk.row import Row


class FairQueue:
    """Round robin over sessions, and within a session over its environments.

    Whoever asks much waits behind itself, not in front of others. Every operation takes constant time, but for
    :meth:`last_of_the_longest`.
    """

    def __init__(self) -> None:
        # Insertion order is the order of turns; OrderedDict, since a dict is slow at giving up its first entry.
        self._sessions: OrderedDict[str, OrderedDict[int, OrderedDict[Row, None]]] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def of_session(self, session_id: str) -> int:
        """Rows of a session."""
        return self._sizes.get(session_id, 0)

    def add(self, row: Row) -> None:
        """Puts a row behind the others of its environment."""
        session_id, env = row.key.session_id, row.key.env
        environments = self._sessions.get(session_id)
        if environments is None:
            environments = self._sessions[session_id] = OrderedDict()
        rows = environments.get(env)
        if rows is None:
            rows = environments[env] = OrderedDict()
        rows[row] = None
        self._sizes[session_id] = self._sizes.get(session_id, 0) + 1
        self._length += 1

    def pop(self) -> Row:
        """Takes out the row whose turn it is. The turn stays where it is until :meth:`pass_turn`.

        Raises:
            StopIteration: There is none.
        """
        environments = next(iter(self._sessions.values()))
        row = next(iter(next(iter(environments.values()))))
        self.remove(row)
        return row

    def pass_turn(self, row: Row) -> None:
        """A row that was taken out was worth its turn: its session and environment go behind the others."""
        environments = self._sessions.get(row.key.session_id)
        if environments is not None:
            self._sessions.move_to_end(row.key.session_id)
            if row.key.env in environments:
                environments.move_to_end(row.key.env)

    def remove(self, row: Row) -> None:
        """Takes out a row that is in it."""
        session_id, env = row.key.session_id, row.key.env
        environments = self._sessions[session_id]
        rows = environments[env]
        del rows[row]
        self._length -= 1
        self._sizes[session_id] -= 1
        if not rows:
            del environments[env]
            if not environments:
                del self._sessions[session_id]
                del self._sizes[session_id]

    def first_of(self, session_id: str, env: int) -> Row | None:
        """The oldest row of an environment."""
        environments = self._sessions.get(session_id)
        rows = environments.get(env) if environments else None
        return next(iter(rows)) if rows else None

    def last_of_the_longest(self, session_id: str) -> Row | None:
        """The row that makes room for one more of a session: the last of the session that has most.

        Args:
            session_id: Who needs the room.

        Returns:
            A row of another session that would still have as many as this one; None where there is no such session.
        """
        if not self._sizes:
            return None
        longest = max(self._sizes, key=self._sizes.__getitem__)
        if self._sizes[longest] <= self.of_session(session_id) + 1:
            return None
        rows = max(self._sessions[longest].values(), key=len)
        return next(reversed(rows))

    def rows(self) -> list[Row]:
        """All of them."""
        return [
            row for environments in self._sessions.values() for rows in environments.values() for row in rows
        ]
