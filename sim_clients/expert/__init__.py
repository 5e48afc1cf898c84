"""A scene expert: it sees one scene and the rules' report, and answers with an action.

``Expert`` drives by the rules; ``BlindDriver`` follows the route and sees neither traffic nor lights.
"""

from sim_clients.expert.blind import BlindDriver
from sim_clients.expert.expert import Decision, Expert
from sim_clients.expert.settings import ExpertSettings

__all__ = ["BlindDriver", "Decision", "Expert", "ExpertSettings"]
