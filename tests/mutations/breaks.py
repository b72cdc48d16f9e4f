"""Lines that keep a promise, each with the way in which somebody might break it.

One entry is one change of one line, as a merge or a clean-up could make it, and the tests that
have to notice.  When the code moves, `old` has to follow: an entry that no longer applies fails.
"""

from __future__ import annotations

from dataclasses import dataclass

GATES = "tests/test_gates.py"
LOOKALIKE = "tests/test_lookalike.py"
ATTACKS = "tests/protocol/crosstab/test_attacks.py"
RULES = "tests/protocol/release/test_rules.py"
BUDGET = "tests/protocol/release/test_budget.py"
NOISE = "tests/protocol/crosstab/test_noise_mechanism.py"
RUNNER = "tests/party_node/test_runner.py"


@dataclass(frozen=True)
class Break:
    """name: what is lost.  tests: the narrowest files or test ids that must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.name.replace(" ", "-")


BREAKS = (
    Break(
        "consent gate lets everyone through",
        "party_node/admission.py",
        "return Eligible(found.rows, dict(found.excluded), head)",
        "return Eligible(BitMap(range(ctx.dataset.rows)), dict(found.excluded), head)",
        (f"{GATES}::test_only_people_who_permit_are_counted",),
    ),
    Break(
        "consents are not looked at again before layout",
        "party_node/steps_crosstab.py",
        "if before - now:",
        "if before - before:",
        (f"{GATES}::test_who_withdraws_during_a_job_is_left_out",),
    ),
    Break(
        "who withdrew stays in the sums",
        "party_node/steps_crosstab.py",
        "codes[real] = np.where(lost[of_handle[real]], np.int32(-1), codes[real])",
        "codes[real] = np.where(lost[of_handle[real]], codes[real], codes[real])",
        (f"{GATES}::test_who_withdraws_during_a_job_is_left_out",),
    ),
    Break(
        "age of the consent copy is not checked",
        "consent/replica.py",
        "if age > self.window:",
        "if age > 1e6 * self.window:",
        ("tests/consent/test_replica.py::test_freshness_is_the_time_at_which_a_quorum_looked",),
    ),
    Break(
        "a late answer is opened",
        "party_node/admission.py",
        "if passed > ctx.freshness:",
        "if passed > 1e6 + ctx.freshness:",
        (f"{GATES}::test_an_answer_that_took_longer_than_the_window_is_not_opened",),
    ),
    Break(
        "policy is not asked",
        "party_node/admission.py",
        "    check_policy(session)\n    # 2.",
        "    # 2.",
        (f"{GATES}::test_a_policy_refuses",),
    ),
    Break(
        "budget is never spent",
        "party_node/steps_crosstab.py",
        "        elif admission.pays(session):",
        "        elif admission.pays(session) < 0:",
        (f"{GATES}::test_a_months_budget_is_spent_once",),
    ),
    Break(
        "owners cap over all recipients is not checked",
        "protocol/release/budget.py",
        "        (everything, account.limit_all_nano, ",
        "        (mine, account.limit_all_nano, ",
        (f"{BUDGET}::test_the_owners_cap_counts_all_recipients_and_purposes",),
    ),
    Break(
        "noise is not added to cells",
        "protocol/crosstab/provider.py",
        "*(opening.bias + value for value in cell)",
        "*(opening.bias for value in cell)",
        (f"{NOISE}::test_the_error_of_a_table_is_a_discrete_gaussian",),
    ),
    Break(
        "noise is not added to the overlap",
        "protocol/crosstab/provider.py",
        "slot = output.opening.bias + int(draw(noise, output.scale, 1)[0])",
        "slot = output.opening.bias + 0 * int(draw(noise, output.scale, 1)[0])",
        (f"{NOISE}::test_the_overlap_of_many_runs_has_the_promised_sigma",),
    ),
    Break(
        "sums are not re-randomised",
        "protocol/crosstab/provider.py",
        "return kernel.rerandomise(public, np.concatenate([overlap, *parts]), random)",
        "return np.concatenate([overlap, *parts])",
        (f"{ATTACKS}::test_a_cannot_test_which_rows_are_inside_a_sum",),
    ),
    Break(
        "mask over the column totals is dropped",
        "protocol/crosstab/provider.py",
        "opening.u_minus + uniform_below(span, random) for _",
        "opening.u_minus for _",
        (f"{ATTACKS}::test_the_column_totals_in_slot_0_do_not_leave",),
    ),
    Break(
        "what lies above the slots is not filled",
        "protocol/crosstab/provider.py",
        "plain = layout.pack_one([slot]) + layout.top_fill(public.n, random)",
        "plain = layout.pack_one([slot])",
        (f"{ATTACKS}::test_the_overlap_output_hides_the_row_totals",),
    ),
    Break(
        "one Enc(0) is handed out for all",
        "protocol/crosstab/coordinator.py",
        "handles_a + np.arange(unmatched, dtype=np.int64)",
        "handles_a + np.zeros(unmatched, dtype=np.int64)",
        (f"{ATTACKS}::test_a_layout_uses_every_row_at_most_once",),
    ),
    Break(
        "a ciphertext may come twice",
        "protocol/paillier/pool.py",
        "if bool(np.any(np.all(ordered[1:] == ordered[:-1], axis=1))):",
        "if bool(np.any(np.all(ordered[1:] == ordered[:-1], axis=1))) and not len(ordered):",
        ("tests/protocol/paillier/test_kernel.py::test_bad_ciphertexts_are_found",),
    ),
    Break(
        "the key's proof is not verified",
        "party_node/steps_terms.py",
        "        proof.verify(public, session.job_hash, list(message.paillier_proof))",
        "        public.to_bytes()",
        (f"{GATES}::test_a_key_without_its_proof_is_not_used",),
    ),
    Break(
        "a point may come twice",
        "protocol/psi/ecdh.py",
        '        refuse_duplicates(batch, types, POINT, "duplicate_point")',
        '        refuse_duplicates(batch[:0], types, POINT, "duplicate_point")',
        (
            "tests/protocol/psi/test_ecdh.py::test_a_repeated_point_is_refused_across_rows_and_types",
        ),
    ),
    Break(
        "a lookalike of few seeds is admitted",
        "party_node/admission.py",
        "    if int(found.sum()) < least:",
        "    if int(found.sum()) < 0 * least:",
        (f"{LOOKALIKE}::test_a_gate_refuses",),
    ),
    Break(
        "what was packed above a seed's slots comes through",
        "protocol/lookalike/requester.py",
        "layout.pack_one(slots) + layout.top_fill(public.n, random)",
        "layout.pack_one(slots)",
        ("tests/protocol/lookalike/test_lookalike.py::test_what_b_packs_above_its_slots_is_lost",),
    ),
    Break(
        "smallest group is one person smaller",
        "protocol/release/rules.py",
        "reasons[count < k] = 1",
        "reasons[count < k - 1] = 1",
        (f"{RULES}::test_what_is_withheld_is_the_letter_of_section_5",),
    ),
    Break(
        "a withheld cell follows from the overlap",
        "protocol/release/rules.py",
        "    _complement(reasons, count, k)\n",
        "",
        (f"{RULES}::test_the_released_cells_tell_no_fewer_than_k_apart",),
    ),
    Break(
        "a slot out of range is opened",
        "protocol/paillier/packing.py",
        "        if not 0 <= slot <= self.largest:",
        "        if not 0 <= 0 * slot <= self.largest:",
        (f"{ATTACKS}::test_a_slot_above_its_bound_fails_the_job",),
    ),
    Break(
        "exact answers are not compared with earlier ones",
        "protocol/release/rules.py",
        "if 1 <= apart < min_cohort:",
        "if 1 <= apart < min_cohort - 1 and apart > min_cohort:",
        (f"{RULES}::test_exact_answers_a_few_rows_apart_are_refused",),
    ),
    Break(
        "signatures are not verified",
        "party_node/runner.py",
        "            await asyncio.to_thread(self._verify, ref)\n",
        "",
        (f"{RUNNER}::test_a_bad_signature_is_seen_before_the_handler",),
    ),
    Break(
        "a finished step is done again for other input",
        "party_node/store.py",
        "if row.input_digest != input_digest:",
        "if row.input_digest != row.input_digest:",
        (f"{RUNNER}::test_another_input_for_a_finished_step_is_equivocation",),
    ),
    Break(
        "a question can be guessed from signatures",
        "party_node/desk.py",
        "spec.canonical(), self._ctx.random(NONCE)",
        "spec.canonical(), bytes(NONCE)",
        ("tests/test_wire.py::test_no_signature_tests_a_guess_of_the_question",),
    ),
    Break(
        "masked distances have the factor as a common divisor",
        "protocol/kmeans/exact/secrets.py",
        "return np.asarray(draws % factors[:, None])",
        "return np.asarray(draws % np.uint64(1))",
        ("tests/protocol/kmeans/test_exact.py",),
    ),
    Break(
        "centres of segments leave before the last round",
        "party_node/steps_exact.py",
        "if not state.final:",
        "if state.final and not state.final:",
        ("tests/test_exact_kmeans.py::test_a_coordinator_that_ends_early_gets_no_centres",),
    ),
    Break(
        "who switched off personal recommendations gets them",
        "party_node/recommendations.py",
        "personal &= own.labels[_short(then.non_personal)] == 0",
        "personal &= own.labels[_short(then.non_personal)] >= 0",
        ("tests/test_after_crosstab.py",),
    ),
    Break(
        "a withheld cell is ranked",
        "protocol/release/after.py",
        'if item in NOT_ITEMS or cell["withheld"] is not None:',
        'if item in NOT_ITEMS or cell["count"] is None:',
        ("tests/protocol/release/test_after.py",),
    ),
    Break(
        "an encryption of zero made ahead is used twice",
        "protocol/paillier/zeros.py",
        "self._kept = both[n:]",
        "self._kept = both",
        ("tests/protocol/paillier/test_zeros.py",),
    ),
    Break(
        "rows that rounding decides go to another centre without a compiler",
        "protocol/kmeans/lloyd.py",
        "if len(unsure):",
        "if len(unsure) > len(best):",
        ("tests/protocol/kmeans/test_native_step.py::test_equal_to_a_plain_loop",),
    ),
)
