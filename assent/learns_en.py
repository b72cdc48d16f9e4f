"""What the report says in English of who learns what, and the heads of that table.

Who runs it: the report, the demo.  Learns: nobody, anything.  The names of the messages are
those of docs/DISCLOSURE.md; a test says so.
"""

from __future__ import annotations

WORDS = {
    "learns_title": "Who learns what",
    "learns_none": "No result left. What each message before the end reveals, and to whom, is in "
    "docs/DISCLOSURE.md.",
    "learns_message": "Message",
    "learns_from": "From",
    "learns_to": "To",
    "learns_learns": "The reader learns",
    "learns_never": "The reader does not learn",
    "coordinator": "coordinator",
    "consent_service": "consent service",
    "the_provider": "the provider",
    "and_other_party": "{one} and the other party",
    "through": "{party}, through the {one}",
    # what every job begins with
    "question": "the question, sealed",
    "question_learns": "the job: purpose, attribute names and titles, vocabularies, bounds, "
    "policies",
    "question_never": "any row",
    "admission": "admission",
    "admission_learns": "who takes part, purpose, match mode, a rounded number of rows",
    "admission_never": "attribute names, labels, the question itself",
    "records": "consent records and their copy",
    "records_learns": "per party, what a pseudonym permits, and when that changed",
    "records_never": "identifiers, rows, tags, who matched",
    # matching
    "points": "blinded curve points",
    "points_learns": "a padded number of points, good for this job only",
    "points_never": "identifiers, even if the coordinator colludes with a party",
    "tokens": "keyed match tokens",
    "tokens_learns": "padded sizes, and which positions agree on which identifier type, with "
    "drawn dummies among them",
    "tokens_never": "identifiers; tokens of two jobs cannot be linked. (If it colluded with a "
    "party of the job, the two could test guesses of identifiers; mode: ecdh removes that.)",
    "membership": "membership",
    "membership_learns": "which of its own rows are in common (reveal: members)",
    "membership_never": "anything else about the other side’s people",
    # counting
    "rows": "encrypted rows",
    "rows_learns": "a padded number of ciphertexts",
    "rows_never": "anything inside them: only {requester} can open them",
    "laid_out": "laid-out ciphertexts",
    "laid_out_learns": "nothing: a matched row and an empty one look alike",
    "laid_out_never": "which of its rows matched; any tag of {requester}",
    "totals": "encrypted totals",
    "totals_learns": "totals under noise, of which only cells that pass the release rules are "
    "shown",
    "totals_learns_exact": "exact totals (noise is off), of which only cells that pass the "
    "release rules are shown",
    "totals_never": "any row of {others}; which people are inside a total",
    "on_their_way": "encrypted totals, on their way",
    "on_their_way_learns": "how many ciphertexts there are",
    "on_their_way_never": "results, and the number of people in common",
    # secure sums
    "seeds_of_masks": "mask seeds",
    "seeds_of_masks_learns": "the difference of two masks",
    "seeds_of_masks_never": "any row",
    "round": "the round's question",
    "round_learns": "what is summed next, computed from totals; at the end the released result",
    "round_never": "totals that the release rules withhold",
    "vectors": "masked vectors",
    "vectors_learns": "how many numbers are summed, and in how many rounds",
    "vectors_never": "anything inside them, even together with the requester (of three companies "
    "or more)",
    "total": "encrypted total of all parties",
    "total_learns": "totals under every company’s noise, of which only what passes the release "
    "rules is shown",
    "total_learns_exact": "exact totals (noise is off), of which only what passes the release "
    "rules is shown",
    "total_never": "any company’s own part",
    # exact segments
    "distances": "masked distances",
    "distances_learns": "for each anonymous row how its distances to the unknown centres compare, "
    "in an order of rows and centres that it does not know; which rows of two rounds may be one",
    "distances_never": "any distance, feature or segment. (Together with a company of the job it "
    "would learn the other’s distances.)",
    "nearest": "nearest columns",
    "nearest_learns": "in which segment each of its own people in common is, at every round, "
    "exactly",
    "nearest_never": "any feature of the other company",
    "centres": "centres of segments",
    "centres_learns": "exact means over segments that are large enough (noise is off)",
    "centres_never": "any single person’s features",
    # segments on a grid
    "means": "means of the provider's groups",
    "means_learns": "means of each feature in groups of its consenting people, under its noise",
    "means_learns_exact": "means of each feature in groups of its consenting people, exactly "
    "(noise is off)",
    "means_never": "how many people a group has, but for the totals above; groups that are too "
    "small",
    "of_groups": "segments of the provider's groups",
    "of_groups_learns": "in which segment most of each of its own groups are, under the noise of "
    "both",
    "of_groups_learns_exact": "in which segment most of each of its own groups are, exactly "
    "(noise is off)",
    "of_groups_never": "features of {requester}, centres and sizes of segments, how many are "
    "common",
    # lookalike
    "features_sent": "encrypted features",
    "features_sent_learns": "a padded number of ciphertexts, and so roughly how many features "
    "there are",
    "features_sent_never": "anything inside them: only {provider} can open them",
    "features_laid_out": "laid-out features",
    "features_laid_out_learns": "nothing: a matched row and an empty one look alike",
    "features_laid_out_never": "which of its rows matched; any feature of {provider}’s people",
    "sums": "encrypted sums of seeds",
    "sums_learns": "{provider}: how many seeds it has and what their features sum to, under "
    "noise. {coordinator}: how many ciphertexts there are",
    "sums_learns_exact": "{provider}: how many seeds it has and what their features sum to, "
    "exactly (noise is off): enough to work out who they are. {coordinator}: how many ciphertexts "
    "there are",
    "sums_never": "which people are seeds",
    "sums_never_exact": "seeds that it does not have",
}
