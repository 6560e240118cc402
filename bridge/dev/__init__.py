"""``aries-bridge dev``: the real bridge at work, with whatever of Aries and Kafka is not at hand made up."""
