"""Makes the topics, and looks at them."""

from __future__ import annotations

from typing import Any

from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.structs import TopicPartition

from satellite.errors import Unavailable
from satellite.kafka.connect import Topics, client_options, connect
from satellite.settings import Settings

DAY_MS = 24 * 3600 * 1000
# For how long the brokers keep what; what comes in is kept longest, as it is there nowhere else.
RETENTION_DAYS = {"jobs": 7, "rejected": 30, "results": 7, "events": 3}


class Admin:
    """Asks and tells the brokers; a context manager.

    Args:
        settings: where they are.

    Raises:
        Unavailable: they do not answer.
    """

    def __init__(self, settings: Settings) -> None:
        self.topics = Topics(prefix=settings.kafka_prefix)
        self._options = client_options(settings)
        try:
            self._client: Any = connect(KafkaAdminClient, self._options)
        except KafkaError as error:
            raise Unavailable(f"Kafka at {settings.kafka_bootstrap} does not answer: {error}") from None

    def __enter__(self) -> Admin:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def names(self) -> dict[str, str]:
        """The topics by what they are for."""
        return {kind: getattr(self.topics, kind) for kind in RETENTION_DAYS}

    def create(self, *, partitions: int, replication: int) -> list[str]:
        """Make the topics that are missing. Those there are stay as they are.

        Args:
            partitions: of each topic; at most so many consumers share the work.
            replication: copies of each; -1: what the brokers are configured for.

        Returns:
            The names of those it has made.
        """
        made: list[str] = []
        for kind, name in self.names.items():
            configs = {"retention.ms": str(RETENTION_DAYS[kind] * DAY_MS)}
            topic = {"num_partitions": partitions, "replication_factor": replication, "configs": configs}
            try:
                self._client.create_topics({name: topic}, wait_for_metadata=True)
                made.append(name)
            except TopicAlreadyExistsError:
                continue
            except KafkaError as error:
                raise Unavailable(f"the topic {name} could not be made: {error}") from None
        return made

    def partitions(self) -> dict[str, int]:
        """The topics there are, with their partitions."""
        there = set(self._client.list_topics())
        names = [name for name in self.names.values() if name in there]
        found = self._client.describe_topics(names) if names else []
        return {topic["name"]: len(topic["partitions"]) for topic in found}

    def lag(self) -> list[dict[str, Any]]:
        """For each partition of the topic of jobs: where the group is, and where the end is."""
        count = self.partitions().get(self.topics.jobs, 0)
        partitions = [TopicPartition(self.topics.jobs, number) for number in range(count)]
        options = {**self._options, "group_id": self.topics.group, "enable_auto_commit": False}
        consumer: Any = connect(KafkaConsumer, options)
        try:
            ends, starts = consumer.end_offsets(partitions), consumer.beginning_offsets(partitions)
            rows: list[dict[str, Any]] = []
            for partition in partitions:
                committed = consumer.committed(partition)
                read_to = starts[partition] if committed is None else committed
                rows.append(
                    {
                        "partition": partition.partition,
                        "committed": committed,
                        "end": ends[partition],
                        "lag": ends[partition] - read_to,
                    }
                )
            return rows
        finally:
            consumer.close(autocommit=False)
