"""features → gather → fit (→ flags → bands) → report: this party's part of a lookalike.

Who runs it: the provider proves its key, encrypts features, fits and scores its own people; the
requester sums its seeds.  With a curve a cross-tab follows in the usual direction: the requester
encrypts who is a seed, the provider sums by score band.  protocols.md sections 4 and 5.
Learns: the provider the seeds' sums under the requester's noise; the requester the curve, if it
asked for one, under the provider's noise, and no score.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from party_node import admission, local_files, outcome
from party_node.job_log import RECIPIENT
from party_node.lookalike_result import provider_result, requester_result
from party_node.lookalike_terms import asked_of, curve_spec, spec_of
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.steps_crosstab import check_rechecked, payment, still_permitted
from party_node.steps_terms import question
from protocol.crosstab import codec as crosstab_codec
from protocol.crosstab.provider import ProviderRows, aggregate
from protocol.crosstab.requester import encrypt_rows, open_outputs
from protocol.errors import Refused
from protocol.lookalike import codec, provider, requester
from protocol.lookalike.curve import bands_of
from protocol.lookalike.fit import fit as fit_model
from protocol.lookalike.spec import LEAST_SEEDS
from protocol.paillier import proof
from protocol.paillier.keys import PublicKey
from protocol.release.noise import NoiseSource, NoNoise
from protocol.secure_sum.model import Local
from protocol.wire import job_pb2 as pb

Codes = npt.NDArray[np.int32]


def prove(session: Session, task: Incoming) -> Outgoing:
    """The proof that the provider's Paillier key is sound, sealed to the requester."""
    session.check_admissions(task.matching("admit"))
    roots = proof.prove(session.paillier_key, session.job_hash)
    data = pb.KeyDelivery(paillier_proof=roots).SerializeToString(deterministic=True)
    return Outgoing(pb.Sealed(sealed=session.seal(session.spec.requester, task.step, data)))


def features(session: Session, task: Incoming) -> Outgoing:
    """One packed row of features per own handle, one fresh Enc(0) per handle of the requester."""
    spec = spec_of(session, session.check_admissions(task.matching("admit")))
    people = provider.population(spec, admission.admitted_rows(session))
    of_handle = session.vault.get_array("rows_of_handles")
    rows = provider.encrypt_rows(
        spec, session.ctx.kernel, session.paillier_key, people, of_handle, task.progress
    )
    return Outgoing(codec.features_head(spec), rows, early=True)


def gather(session: Session, task: Incoming) -> Outgoing:
    """The seeds' sums, protected; the requester's budget is spent as they are stored."""
    ctx = session.ctx
    spec = spec_of(session, session.check_admissions(task.matching("admit")))
    public = _provider_key(session, task)
    codes = _seed_codes(session)
    still = still_permitted(session, codes, session.vault.get_array("rows_of_handles"))
    admission.check_seeds(session, still)
    layout = codec.layout_body(task.framed("layout", codec.LAYOUT), spec)
    sums = requester.gather(
        spec, ctx.kernel, public, layout, codes == 0, _noise(session), ctx.random, task.progress
    )
    ctx.records.put(session.job_id, RECIPIENT, session.others[0])
    return Outgoing(codec.sums_head(spec), [sums], payment(session, still))


def _provider_key(session: Session, task: Incoming) -> PublicKey:
    (party,) = session.spec.providers
    public = session.ctx.make_key.received(session.offers[party].paillier_n)
    opened = session.unseal(party, f"prove/{party}", task.head("proof", pb.Sealed).sealed)
    proof.verify(public, session.job_hash, list(pb.KeyDelivery.FromString(opened).paillier_proof))
    return public


def _seed_codes(session: Session) -> Codes:
    """int32[handles]: 0 for a seed, -1 for everybody else, dummies and padding."""
    flag = asked_of(session).seed_flag.split("/", 1)[1]
    seeds = admission.admitted_rows(session).labels[flag] == 1
    return _of_handles(session, np.where(seeds, 0, -1))


def _of_handles(session: Session, codes: npt.NDArray[np.integer]) -> Codes:
    of_handle = session.vault.get_array("rows_of_handles")
    found = np.full(len(of_handle), -1, dtype=np.int32)
    real = of_handle >= 0
    found[real] = codes[of_handle[real]]
    return found


def _noise(session: Session) -> NoiseSource:
    return session.ctx.noise if session.spec.noise else NoNoise()


def fit(session: Session, task: Incoming) -> Outgoing:
    """Opens the sums, fits, and writes the scores of the provider's own people to its folder."""
    ctx, asked = session.ctx, asked_of(session)
    check_rechecked(session, "fit")
    spec = spec_of(session, session.check_admissions(task.matching("admit")))
    body = codec.sums_body(task.framed("sums", codec.SUMS), spec)
    seeds, *totals = provider.open_sums(spec, ctx.kernel, session.paillier_key, body)
    if seeds < LEAST_SEEDS:
        raise Refused(
            "too_few_seeds",
            f"fewer than {LEAST_SEEDS} of the seeds are among {ctx.name}'s people"
            + (", by their noisy number" if spec.noise else ""),
            party=ctx.name,
            stage="fit",
            next_step="flag more seeds",
        )
    rows = admission.admitted_rows(session)
    people = provider.population(spec, rows)
    sums = provider.consistent(spec, seeds, totals)
    fitted = fit_model(people.values[people.complete], seeds, sums, float(asked.l2))
    scores = np.full(len(rows), np.nan)  # unknown: null in the file
    scores[people.complete] = fitted.scores
    # Who withdrew after the last look is in the sums, which cannot be undone; not in the file.
    still = np.isin(rows.index, np.array(admission.eligible(session).rows.to_array()))
    local_files.write(
        ctx.folder, session.spec.name, rows.index[still], Local("scores", {"score": scores[still]})
    )
    if asked.curve:
        bands = np.full(len(rows), -1, dtype=np.int64)
        bands[people.complete] = bands_of(fitted.scores, asked.curve)
        session.vault.put_array("bands", bands)
    ctx.records.put(session.job_id, "result", provider_result(session, spec, seeds, fitted))
    return Outgoing(pb.Confirmation(what="fit"))


# -- the curve -------------------------------------------------------------------------------


def flags(session: Session, task: Incoming) -> Outgoing:
    """Who is a seed, encrypted: the requester's last look at consent is right before it."""
    ctx = session.ctx
    spec = curve_spec(session, session.check_admissions(task.matching("admit")))
    codes = _seed_codes(session)
    still_permitted(session, codes, session.vault.get_array("rows_of_handles"))
    session.vault.put("rechecked", repr(ctx.now()).encode())
    key = session.paillier_key
    rows = encrypt_rows(spec, ctx.kernel, key, codes, spec.handles_b, task.progress)
    return Outgoing(crosstab_codec.rows_head(spec), rows, early=True)


def bands(session: Session, task: Incoming) -> Outgoing:
    """How many seeds each score band holds, protected; the provider's budget is spent with it."""
    ctx = session.ctx
    spec = curve_spec(session, session.check_admissions(task.matching("admit")))
    public = ctx.make_key.received(session.offers[session.spec.requester].paillier_n)
    codes = _of_handles(session, session.vault.get_array("bands"))
    still = still_permitted(session, codes, session.vault.get_array("rows_of_handles"))
    layout = crosstab_codec.layout_body(task.framed("layout", crosstab_codec.LAYOUT), spec)
    outputs = aggregate(
        spec, ctx.kernel, public, layout, ProviderRows(codes), _noise(session), ctx.random,
        task.progress,
    )  # fmt: skip
    return Outgoing(crosstab_codec.outputs_head(spec), [outputs], payment(session, still))


def report(session: Session, task: Incoming) -> Outgoing:
    """The requester's result: that the provider has its scores, and the curve if it asked."""
    ctx = session.ctx
    handles = session.check_admissions(task.matching("admit"))
    counts = None
    if asked_of(session).curve:
        check_rechecked(session, "report")
        spec = curve_spec(session, handles)
        outputs = crosstab_codec.outputs_body(task.framed("outputs", crosstab_codec.OUTPUTS), spec)
        totals = open_outputs(spec, ctx.kernel, session.paillier_key, outputs)
        counts = totals.count[0].tolist()
    result = requester_result(session, handles, counts)
    ctx.records.put(session.job_id, "result", result)
    ctx.records.keep_answer(*question(session), result)
    commitment = outcome.sign_result(session, result)
    return Outgoing(pb.Confirmation(what="report", commitment=commitment))
