"""Seeds that once found something: each is run again by every ``make test``."""

FOUND: tuple[tuple[int, str], ...] = (
    (3, "a credential was deleted by its name, though a rebuilt cluster's issuer had taken the name over"),
    (13, "a request was taken for recorded though its record had not been written"),
    (29, "a users row that could not be dropped at the first try stayed, closing, for ever"),
    (62, "an account's last user but one left between the last one's two looks, and no pod was looked for"),
    (77, "verify_gone removed an account that a newcomer had made between its look and its delete"),
    (141, "a delete took a thing for one never joined, and its create's lost joining landed after it"),
    (
        582,
        "an observed connection was the last user of an account that ours had made again, and let it stay",
    ),
    (
        1762,
        "a late delete of a dead cluster's credential took the rebuilt cluster's, which had the same name",
    ),
    (1910, "the same, and connections stayed configured with it"),
    (2490, "who joined an account that another connection had made put its own nonce on record for it"),
    (2268, "a credential that came back late was removed though a linker worked through it by then"),
    (576, "a host whose clock ran ahead took an operation that was just being opened for one that never was"),
    (2258, "a linker's event that was lost half-way left a user without a connection"),
    (3020, "an identity went with its last user between a newcomer's look and its joining"),
    (4084, "a write whose answer was lost landed after the delete of a create that had ended by itself"),
    (4106, "the same with a credential of an identity that stays"),
    (7, "a late event's prune overtook a repair, found its cause alive, and left the connection half mended"),
    (
        20735,
        "an update left a role to a linker and forgot it, and later the identity went before the role",
    ),
    (20260132, "a removal that was cut off had left a role to a linker; when it went on the linker was gone"),
    (
        20260164,
        "a lost write of a shared account landed after another connection, its last user, had removed it",
    ),
    (6266, "a lost write of an account landed on one that somebody else had made there since"),
    (168, "a validation read a part of a target by facts of before the update that had begun, and broke"),
    (
        182,
        "another cluster's linker was seen while identities could not be listed, and lost its identity",
    ),
    (2192, "a prune gave what was left to a linker to others, who had left it before and never came back"),
    (4381, "the same"),
    (4132, "a role that came back late stayed for a linker, and nobody knew of it once that linker was gone"),
    (
        3102,
        "an identity stayed for a linker that was gone, and so was all that had been left to that one",
    ),
    (
        6611,
        "of two that were pruned at once each left an account to the other, and neither removed it",
    ),
    (4327, "a delete left a credential to one that had left its identity already, and that went before it"),
    (5691, "the same, while the other's second delete was removing the credential"),
    (4423, "of two that were pruned at once each left a role to the other, and the identity went before it"),
    (
        2408,
        "a prune whose outcome was lost said an identity was not ours, and not that somebody trusts it",
    ),
    (
        3409,
        "an account that somebody had taken our mark off was pruned with a linker that worked with it",
    ),
    (3678, "the same, of a linker that was seen only after the mark had gone"),
    (2973, "a lost write of a secret landed in a rebuilt cluster, where its delete did not look for it"),
    (
        6843,
        "an update broke off before its roles were made, its target went, and with it what access there was",
    ),
    (
        6231,
        "an account that was made again in a rebuilt cluster stayed: its last user took it for a backup's",
    ),
    (
        20260149,
        "a role that came back late stayed, because the write that was to keep newcomers out met a conflict",
    ),
)
"""Seed, and what the product did wrong. A later script may draw other events for a seed: the named tests in
``tests/unit/test_races.py`` hold the fixes, the seeds keep looking."""
