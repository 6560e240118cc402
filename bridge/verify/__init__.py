"""``aries-bridge verify``: prove from the topics alone what consumers are promised.

``heads`` reads what is needed of a record; ``sequence`` checks the partitions, ``lives`` the accounts on control,
``checker`` both together: pure code, fed with records and a clock. ``reading`` is its shell, ``report`` its voice.
"""
