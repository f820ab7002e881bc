"""What happens at an institution as FHIR: transactions, single resources, lines of them, one as XML."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from kangshu.simulation.speech.month import PERSON, Month, Report, Row, Stay, Visit, seconds
from kangshu.simulation.speech.resources import Resource, Shaper
from kangshu.simulation.speech.said import Said, Slip
from kangshu.simulation.streams import Stream
from kangshu.standards import fhir

_MINUTE = 60
_HOUR = 3600
# Shares, all arbitrary.
_CANCELLED = 0.01
_PULSE = 0.5
_PRELIMINARY = 0.25
_CORRECTED = 0.015


class FhirVoice:
    """Says a month of one institution in FHIR; the same month and stream give the same messages.

    Every message stands for itself: it brings the patient and the visit along, whole.
    """

    def __init__(self, month: Month, random: Stream) -> None:
        self._month, self._random = month, random
        self._shaper = Shaper(month.code, month.name, month.departments)
        self._encounters = month.encounters()
        self._numbers: dict[str, int] = {}
        self._as_xml = True

    def said(self) -> Iterator[Said]:
        """Yield everything that is said, in no order; what would come after the month is left unsaid."""
        for one in self._all():
            if self._month.within(one.at):
                yield one

    def _all(self) -> Iterator[Said]:
        for number, visit in enumerate(self._month.visits):
            yield from self._visit(visit, cancelled=number == 0 or self._chance(_CANCELLED))
        for stay in self._month.stays:
            yield from self._stay(stay)
        for number, report in enumerate(self._month.reports):
            yield from self._report(report, corrected=number == 0 or self._chance(_CORRECTED))
        for row in self._month.examinations:
            yield from self._examination(row)
        yield from self.vaccinations()

    def vaccinations(self) -> Iterator[Said]:
        """Yield the month's vaccinations alone."""
        for row in self._month.immunizations:
            resources = [self._shaper.patient(row), self._shaper.immunization(row)]
            number = f"V{row['vaccination_number']}-1"
            text = written(self._shaper.transaction(number, resources))
            yield Said(
                at=seconds(row["vaccinated_at"]),
                channel="vaccinations",
                type="Bundle/transaction",
                person=int(row[PERSON]),
                make=lambda _, text=text: text,
                control_id=number,
            )

    def _chance(self, share: float) -> bool:
        return bool(self._random.random() < share)

    def _visit(self, visit: Visit, *, cancelled: bool) -> Iterator[Said]:
        row = visit.row
        over = seconds(row["visited_at"]) + int(self._random.integers(20, 90)) * _MINUTE
        conditions = [self._shaper.condition(one) for one in visit.diagnoses]
        drugs = [self._shaper.prescription(one) for items in visit.prescriptions for one in items]
        yield self._transaction("visits", row, over, [*self._context(row), *conditions, *drugs])
        if self._chance(_PULSE):
            pulse = self._shaper.pulse(row, rate=int(self._random.integers(58, 104)))
            yield self._single("vitals", row, over, pulse)
        if cancelled:
            yield from self._cancelled(row, over)

    def _cancelled(self, row: Row, at: int) -> Iterator[Said]:
        """A second registration on the same day, which comes to nothing."""
        number = str(row["visit_number"])
        other = {**row, "visit_number": f"{number[:9]}9{number[10:]}"}
        patient = self._shaper.patient(other)
        planned = self._shaper.visit(other, conditions=[], status="arrived")
        yield self._transaction("visits", other, at + 5 * _MINUTE, [patient, planned])
        gone = self._shaper.visit(other, conditions=[], status="cancelled")
        yield self._transaction(
            "visits", other, at + 20 * _MINUTE, [patient, gone], slip=Slip.VISIT_CANCELLED
        )

    def _stay(self, stay: Stay) -> Iterator[Said]:
        row = stay.row
        admitted, discharged = seconds(row["admitted_at"]), seconds(row["discharged_at"])
        patient = self._shaper.patient(row)
        begun = self._shaper.stay(row, over=False, conditions=[])
        yield self._alone("admission", row, admitted, [patient, begun])
        if not self._month.within(discharged):
            return
        drugs = [self._shaper.prescription(one) for items in stay.prescriptions for one in items]
        conditions = self._stay_conditions(stay)
        yield self._alone("discharge", row, discharged, [*self._context(row), *conditions, *drugs])

    def _stay_conditions(self, stay: Stay) -> list[Resource]:
        """The principal diagnosis comes first."""
        rows = sorted(stay.diagnoses, key=lambda one: one["diagnosis_type"] != "3")
        return [self._shaper.condition(one) for one in rows]

    def _context(self, row: Row) -> list[Resource]:
        """Return patient and visit of a row as they are when all is over."""
        found = self._encounters.get(row["visit_number"])
        if isinstance(found, Visit):
            conditions = [self._shaper.condition(one) for one in found.diagnoses]
            encounter = self._shaper.visit(found.row, conditions=conditions)
        elif isinstance(found, Stay):
            over = self._month.within(seconds(found.row["discharged_at"]))
            encounter = self._shaper.stay(
                found.row, over=over, conditions=self._stay_conditions(found) if over else []
            )
        else:
            return [self._shaper.patient(row)]
        return [self._shaper.patient(found.row), encounter]

    def _report(self, report: Report, *, corrected: bool) -> Iterator[Said]:
        row, at = report.row, seconds(report.row["reported_at"])
        context = self._context(row)
        if self._chance(_PRELIMINARY) and len(report.results) > 1:
            half = report.results[: len(report.results) // 2]
            early = [self._shaper.result(one, status="preliminary") for one in half]
            said = self._shaper.laboratory(report, status="preliminary", results=early)
            yield self._transaction("reports", row, at - 30 * _MINUTE, [*context, *said])
        final = [self._shaper.result(one, status="final") for one in report.results]
        measured = next((n for n, one in enumerate(report.results) if one.get("value_number")), None)
        if corrected and measured is not None:
            wrong = report.results[measured]
            value = Decimal(str(wrong["value_number"])) * 10
            slipped = self._shaper.result(wrong, status="final", value=value)
            results = [slipped if n == measured else one for n, one in enumerate(final)]
            said = self._shaper.laboratory(report, status="final", results=results)
            yield self._transaction("reports", row, at, [*context, *said])
            final[measured] = self._shaper.result(wrong, status="corrected")
            at, status, slip = min(at + 2 * _HOUR, self._month.after - _MINUTE), "corrected", Slip.CORRECTION
        else:
            status, slip = "final", ""
        said = self._shaper.laboratory(report, status=status, results=final)
        yield self._transaction("reports", row, at, [*context, *said], slip=slip)

    def _examination(self, row: Row) -> Iterator[Said]:
        at, context = seconds(row["reported_at"]), self._context(row)
        if self._chance(_PRELIMINARY):
            said = self._shaper.examination(row, status="preliminary")
            yield self._transaction("reports", row, at - 20 * _MINUTE, [*context, *said])
        yield self._transaction(
            "reports", row, at, [*context, *self._shaper.examination(row, status="final")]
        )

    def _transaction(
        self, channel: str, row: Row, at: int, resources: list[Resource], *, slip: str = ""
    ) -> Said:
        number = self._number(channel, row)
        text = written(self._shaper.transaction(number, resources))
        return Said(
            at=at,
            channel=channel,
            type="Bundle/transaction",
            person=int(row[PERSON]),
            make=lambda _: text,
            control_id=number,
            slip=slip,
        )

    def _alone(self, channel: str, row: Row, at: int, resources: list[Resource]) -> Said:
        """A transaction in a file of its own; the first one of all as XML."""
        number = self._number(channel, row)
        bundle = self._shaper.transaction(number, resources)
        as_xml = self._as_xml and self._month.within(at)
        self._as_xml = self._as_xml and not as_xml
        text = fhir.to_xml(bundle).decode() if as_xml else written(bundle)
        return Said(
            at=at,
            channel=channel,
            type="Bundle/transaction",
            person=int(row[PERSON]),
            make=lambda _: text,
            control_id=number,
            name=f"{channel}_{row['visit_number']}.{'xml' if as_xml else 'json'}",
        )

    def _single(self, channel: str, row: Row, at: int, resource: Resource) -> Said:
        text = written(resource)
        return Said(
            at=at,
            channel=channel,
            type=resource["resourceType"],
            person=int(row[PERSON]),
            make=lambda _: text,
        )

    def _number(self, channel: str, row: Row) -> str:
        """Return the number of the next message about a visit: its number and how many went before."""
        key = f"{channel[0].upper()}{row.get('report_number') or row['visit_number']}"
        self._numbers[key] = self._numbers.get(key, 0) + 1
        return f"{key}-{self._numbers[key]}"


def written(resource: Resource) -> str:
    """Return a resource as one line of JSON."""
    return fhir.dumps(resource).decode()
