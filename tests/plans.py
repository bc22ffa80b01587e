"""What PostgreSQL's EXPLAIN says about the statements that some code sends, caught at the cursor."""

import json

from django.db import connection


class Plan:
    """What EXPLAIN says about every statement that was sent."""

    def __init__(self) -> None:
        self.nodes: list[dict] = []

    def __call__(self, execute, sql, params, many, context):
        with connection.connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
            found = cursor.fetchone()[0]
        for plan in json.loads(found) if isinstance(found, str) else found:
            self._walk(plan["Plan"])
        return execute(sql, params, many, context)

    def _walk(self, node):
        self.nodes.append(node)
        for inner in node.get("Plans", []):
            self._walk(inner)

    @property
    def indexes(self):
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def tables_read_through(self):
        return [node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"]

    @property
    def sorts(self):
        return [node["Sort Key"] for node in self.nodes if "Sort" in node["Node Type"]]
