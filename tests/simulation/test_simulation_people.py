"""The fictional people bear valid numbers that are nobody's, and look like a population."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import pytest

from kangshu.declarations import Pack
from kangshu.simulation.households import YEAR
from kangshu.simulation.names import DOT
from kangshu.simulation.population import Chronic, Population
from kangshu.simulation.region import PROVINCE_CODE, build_region, institution_code
from kangshu.simulation.visits import month_days, month_visits
from kangshu.simulation.world import World

WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


@pytest.fixture(scope="module")
def population(world: World) -> Population:
    return world.population


@pytest.fixture(scope="module")
def ages(population: Population) -> np.ndarray:
    return (population.start - population.birth_day[: population.residents]) / YEAR


def test_every_resident_number_has_its_check_digit_and_tells_birth_date_and_sex(
    population: Population,
) -> None:
    numbers = population.number.to_pylist()
    births = np.asarray(population.birth_day, dtype="datetime64[D]").astype(str)

    for number, born, sex in zip(numbers, births, population.sex, strict=True):
        if number is None:
            continue
        total = sum(weight * int(digit) for weight, digit in zip(WEIGHTS, number[:17], strict=True))
        assert number[17] == "10X98765432"[total % 11]
        assert f"{number[6:10]}-{number[10:12]}-{number[12:14]}" == born
        assert int(number[16]) % 2 == sex % 2


def test_no_number_is_given_twice(population: Population) -> None:
    for column in (population.number, population.document_number, population.phone):
        numbers = [number for number in column.to_pylist() if number]
        assert len(numbers) == len(set(numbers))


def test_numbers_begin_with_a_province_that_is_none(population: Population, pack: Pack) -> None:
    prefixes = {number[:2] for number in population.number.to_pylist() if number}

    assert prefixes == {PROVINCE_CODE}
    assert PROVINCE_CODE not in pack.codes["province"].titles()


def test_the_age_pyramid_is_that_of_a_province(ages: np.ndarray) -> None:
    assert 0.13 < (ages < 15).mean() < 0.20
    assert 0.17 < (ages >= 60).mean() < 0.24
    assert 0.11 < (ages >= 65).mean() < 0.17
    assert ages.min() >= 0
    assert ages.max() < 105


def test_half_of_the_people_are_women_and_more_of_the_old(population: Population, ages: np.ndarray) -> None:
    women = population.sex[: population.residents] == 2

    assert 0.48 < women.mean() < 0.52
    assert women[ages >= 75].mean() > women[ages < 15].mean()


def test_wang_li_and_zhang_are_the_commonest_surnames(population: Population) -> None:
    surnames = Counter(name[0] for name in population.name.to_pylist())

    assert {name for name, _ in surnames.most_common(3)} == {"王", "李", "张"}
    assert 0.05 < surnames["王"] / len(population) < 0.10


def test_there_are_names_that_give_software_trouble(population: Population) -> None:
    names = population.name.to_pylist()

    assert any(DOT in name for name in names)
    assert any(name.startswith(("欧阳", "司马", "诸葛", "尉迟", "皇甫")) for name in names)
    assert any(name.isascii() for name in names)
    assert any(not _in_gbk(name) for name in names)


def _in_gbk(name: str) -> bool:
    try:
        name.encode("gbk")
    except UnicodeEncodeError:
        return False
    return True


def test_children_bear_their_fathers_name_and_are_born_to_grown_mothers(population: Population) -> None:
    names = population.name.to_pylist()
    children = np.flatnonzero(
        (population.father >= 0) & (population.ethnic == 1) & (population.document == 0)
    )
    same = sum(names[child][0] == names[population.father[child]][0] for child in children)
    mothers = population.mother[population.mother >= 0]
    age = (population.birth_day[population.mother >= 0] - population.birth_day[mothers]) / YEAR

    assert same > 0.98 * len(children)
    assert age.min() > 17
    assert 24 < age.mean() < 30


def test_twins_share_birthday_mother_and_have_neighbouring_numbers(population: Population) -> None:
    twins = np.flatnonzero((population.twin_of >= 0) & (population.document == 0))
    twins = twins[population.document[population.twin_of[twins]] == 0]
    numbers = population.number.to_pylist()

    assert len(twins) > 5
    for twin in twins:
        other = population.twin_of[twin]
        assert population.birth_day[twin] == population.birth_day[other]
        assert population.mother[twin] == population.mother[other]
        assert numbers[twin][:14] == numbers[other][:14]


def test_newborns_are_their_mothers_until_they_are_named(population: Population) -> None:
    newborns = population.newborns
    mothers = population.name.take(population.mother[newborns]).to_pylist()
    born = population.birth_day[newborns]

    shown = population.name_at(newborns, born).to_pylist()
    later = population.name_at(newborns, population.named_day[newborns]).to_pylist()

    assert len(newborns) > 80
    assert all(
        name.startswith(mother) and name[-1] in "子女" for name, mother in zip(shown, mothers, strict=True)
    )
    assert population.number_at(newborns, born).null_count == len(newborns)
    assert later == population.name.take(newborns).to_pylist()


def test_nobody_lies_in_two_beds_at_once_or_after_death(world: World) -> None:
    stays = world.stays
    order = np.lexsort((stays.admitted, stays.person))
    same = stays.person[order][1:] == stays.person[order][:-1]

    assert (stays.admitted[order][1:] >= stays.discharged[order][:-1])[same].all()
    assert (stays.discharged // 86_400 <= world.population.death_day[stays.person]).all()
    assert (stays.admitted <= stays.discharged).all()


def test_chronic_illness_comes_with_age(population: Population, ages: np.ndarray) -> None:
    high = ((population.chronic[: population.residents] >> Chronic.HYPERTENSION) & 1) == 1

    assert high[ages < 18].mean() == 0
    assert high[ages >= 65].mean() > 3 * high[(ages >= 30) & (ages < 50)].mean()


def test_colds_come_in_winter_and_diarrhoea_in_summer(world: World) -> None:
    counts = {month: _illnesses(world, month) for month in (0, 6)}

    assert counts[0]["uri"] > 1.4 * counts[6]["uri"]
    assert counts[0]["influenza"] > 5 * counts[6]["influenza"]
    assert counts[6]["gastroenteritis"] > 1.3 * counts[0]["gastroenteritis"]


def _illnesses(world: World, month: int) -> Counter[str]:
    first, after = month_days(world.start, month)
    visits = month_visits(
        population=world.population,
        region=world.region,
        clinic=world.clinic,
        seed=world.seed,
        month=month,
        first=first,
        after=after,
    )
    return Counter(world.clinic.illness_ids[number] for number in visits.illness)


def test_illnesses_of_one_sex_do_not_befall_the_other(world: World) -> None:
    visits = Counter[tuple[str, int]]()
    for month in range(2):
        first, after = month_days(date(2026, 1, 1), month)
        made = month_visits(
            population=world.population,
            region=world.region,
            clinic=world.clinic,
            seed=world.seed,
            month=month,
            first=first,
            after=after,
        )
        sexes = world.population.sex[made.person]
        visits.update((world.clinic.illness_ids[i], int(s)) for i, s in zip(made.illness, sexes, strict=True))

    assert visits["vaginitis", 2] > 50
    assert (
        visits["vaginitis", 1] == visits["prenatal", 1] == visits["prostate", 2] == visits["hernia", 2] == 0
    )


def test_institutions_grow_with_the_region_and_have_codes_of_22_places() -> None:
    small, large = (build_region(residents=size, seed=1) for size in (20_000, 1_000_000))

    assert 20 <= len(small.reporting()) <= 30
    assert 300 <= len(large.reporting()) <= 1_000
    for region in (small, large):
        codes = region.institutions.codes
        assert {len(code) for code in codes} == {22}
        assert len(set(codes)) == len(codes)
        assert len(set(region.divisions.codes)) == len(region.divisions.codes)
        assert all(code[9:11] == PROVINCE_CODE for code in codes)


def test_an_organisation_code_ends_with_its_check_character() -> None:
    code = institution_code(serial=19, division="990202", type_code="B100", economic="11", management="1")

    assert code == "YH000019X99020211B1001"
