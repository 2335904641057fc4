"""Statements that Django compiles once, and not at each use.

Most of the time that the ORM takes for a short query is the building of its SQL. A statement is an ordinary query, in which
an `Argument` stands for each value that differs between its uses:

    @Statement
    def titles_of() -> QuerySet[Conversation, Any]:
        return Conversation.objects.filter(owner_key=Argument("owner", CharField())).values_list("title")

    titles_of.rows(using, owner="u:1")

Its SQL is what Django's compiler makes of the query, and it runs on Django's cursor, so a site's execute wrappers and
`assertNumQueries` see it. All else is fixed at the first use, so a setting that may change must be an argument.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any, TypeAlias

from django.db import connections
from django.db.models import (
    AutoField,
    BigAutoField,
    BigIntegerField,
    BooleanField,
    CharField,
    Expression,
    Field,
    ForeignKey,
    IntegerField,
    Model,
    PositiveBigIntegerField,
    PositiveIntegerField,
    QuerySet,
    TextField,
    UUIDField,
    sql,
)
from django.db.models.expressions import DatabaseDefault
from django.db.models.signals import post_save, pre_save

from .rows import Row, new_row

Query: TypeAlias = "sql.Query | QuerySet[Any, Any]"
# (value of an argument, connection) -> the value as the database's driver takes it.
Preparation: TypeAlias = Callable[[Any, Any], Any]

# So many SQL texts of one statement are kept, for its different shapes.
_KEPT = 64
_KEPT_UUIDS = 1024
# The most rows that `insert` inserts in one statement. In the widest table they have 800 parameters; before 3.32, SQLite
# allowed 999.
MOST_ROWS = 20
# The fields that pass on values of these types as they are.
_UNCHANGED: dict[type, type] = {CharField: str, TextField: str, BooleanField: bool, UUIDField: uuid.UUID}
_INTEGERS = (AutoField, BigAutoField, BigIntegerField, IntegerField, PositiveBigIntegerField, PositiveIntegerField)
_UNCHANGED_ON_SQLITE: dict[type, type] = {**_UNCHANGED, **dict.fromkeys(_INTEGERS, int)}


class Argument(Expression):
    """A value that each use of a statement gives by its name. index: the item of it, where it is a sequence or a mapping."""

    def __init__(self, name: Any, output_field: Field[Any, Any], index: Any = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name
        self.index = index

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the place of a parameter, and as the parameter itself, which `_Compiled` replaces."""
        return "%s", (self,)

    def preparation(self, vendor: str) -> tuple[tuple[type, ...], Preparation]:
        """Return the types that the driver of this vendor's database takes as they are, and what prepares other values."""
        return _preparation(self.output_field, vendor)


class Arguments(Argument):
    """Any number of values as one parameter, on the right of `In(F(…), …)`: the SQL is the same for each number."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        if connection.vendor == "postgresql":
            return f"(SELECT unnest(%s::{self.output_field.rel_db_type(connection)}[]))", (self,)
        return "(SELECT value FROM json_each(%s))", (self,)

    def preparation(self, vendor: str) -> tuple[tuple[type, ...], Preparation]:
        unchanged, prepare = super().preparation(vendor)

        def prepare_all(values: Iterable[Any], connection: Any) -> Any:
            prepared = [value if isinstance(value, unchanged) else prepare(value, connection) for value in values]
            return prepared if vendor == "postgresql" else json.dumps(prepared)

        return (), prepare_all


def _preparation(field: Field[Any, Any], vendor: str) -> tuple[tuple[type, ...], Preparation]:
    """Return what together does what the field itself does; for the usual types of its values, at no cost."""
    prepare = field.get_db_prep_save
    kind = type(field.target_field if isinstance(field, ForeignKey) else field)
    if kind is UUIDField and vendor == "sqlite":
        return (
            NoneType,
        ), lambda value, connection: value.hex if type(value) is uuid.UUID else prepare(value, connection)
    unchanged = (_UNCHANGED_ON_SQLITE if vendor == "sqlite" else _UNCHANGED).get(kind)
    return (unchanged, NoneType) if unchanged else (), prepare


def arguments(name: str, output_field: Field[Any, Any], count: int) -> list[Argument]:
    """Return an argument for each item of a sequence of this length, for `pk__in`; of a foreign key, for `In(F(…), …)`."""
    return [Argument(name, output_field, index) for index in range(count)]


class Statement:
    """One statement. Safe to use from any thread, and with any number of databases.

    build: returns a queryset, or what `update`, `delete` or `insertion` returns. It is called once for each database and
    each shape: the arguments of `build` itself, such as the length of a list.
    """

    def __init__(self, build: Callable[..., Query]) -> None:
        self._build = build
        self._compiled = lru_cache(_KEPT)(self._compile)

    def rows(self, using: str, /, *shape: Any, **arguments: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a queryset, as `values_list` does."""
        connection = connections[using]
        return self._compiled(using, connection.vendor, *shape).rows(connection, arguments)

    def execute(self, using: str, /, *shape: Any, **arguments: Any) -> int:
        """Execute an UPDATE, a DELETE or an INSERT, and return the number of its rows."""
        connection = connections[using]
        return self._compiled(using, connection.vendor, *shape).execute(connection, arguments)

    def execute_many(self, using: str, uses: Iterable[Mapping[Any, Any]], /, *shape: Any) -> int:
        """Execute it once with each of these arguments, and return the number of all rows."""
        connection = connections[using]
        return self._compiled(using, connection.vendor, *shape).execute_many(connection, uses)

    def _compile(self, using: str, vendor: str, *shape: Any) -> _Compiled:
        """vendor: of the database. In tests, an alias may name another database than before."""
        query = self._build(*shape)
        return _Compiled(query.query if isinstance(query, QuerySet) else query, using)


class _Compiled:
    """The SQL of a statement for one database. Keeps nothing of the connection, which belongs to one thread."""

    def __init__(self, query: sql.Query, using: str) -> None:
        compiler = query.get_compiler(using)
        compiled = compiler.as_sql()
        # Of an INSERT, a list: some databases insert one row at a time.
        [(self._sql, parameters)] = compiled if isinstance(compiled, list) else [compiled]
        self._parameters = list(parameters)
        vendor = compiler.connection.vendor
        self._arguments = [
            (at, each.name, each.index, *each.preparation(vendor))
            for at, each in enumerate(self._parameters)
            if isinstance(each, Argument)
        ]
        columns = [column for column, _sql, _alias in compiler.select or ()]
        converted = compiler.get_converters(columns)
        self._converted = [(at, columns[at]) for at in converted if not _is_uuid_as_text(columns[at], vendor)]
        self._uuids = [at for at in converted if _is_uuid_as_text(columns[at], vendor)]

    def rows(self, connection: Any, arguments: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(self._sql, self._parameters_of(connection, arguments))
            rows = cursor.fetchall()
        return self._in_python(rows, connection) if self._converted or self._uuids else rows

    def execute(self, connection: Any, arguments: Mapping[Any, Any]) -> int:
        with connection.cursor() as cursor:
            cursor.execute(self._sql, self._parameters_of(connection, arguments))
            return cursor.rowcount

    def execute_many(self, connection: Any, uses: Iterable[Mapping[Any, Any]]) -> int:
        parameters = [self._parameters_of(connection, arguments) for arguments in uses]
        with connection.cursor() as cursor:
            if len(parameters) == 1:
                # psycopg opens a pipeline for any number of rows, which for one costs more than it saves.
                cursor.execute(self._sql, parameters[0])
            else:
                cursor.executemany(self._sql, parameters)
            return cursor.rowcount

    def _parameters_of(self, connection: Any, arguments: Mapping[Any, Any]) -> list[Any]:
        parameters = self._parameters.copy()
        for at, name, index, unchanged, prepare in self._arguments:
            value = arguments[name]
            if index is not None:
                value = value[index]
            parameters[at] = value if isinstance(value, unchanged) else prepare(value, connection)
        return parameters

    def _in_python(self, rows: Sequence[tuple[Any, ...]], connection: Any) -> list[tuple[Any, ...]]:
        """Return the rows with the values that Django makes of the driver's."""
        lists = [list(row) for row in rows]
        for at in self._uuids:
            for row in lists:
                row[at] = None if row[at] is None else _uuid(row[at])
        for at, column in self._converted:
            for convert in (*connection.ops.get_db_converters(column), *column.get_db_converters(connection)):
                for row in lists:
                    row[at] = convert(row[at], column, connection)
        return [tuple(row) for row in lists]


def _is_uuid_as_text(column: Any, vendor: str) -> bool:
    return vendor == "sqlite" and type(getattr(column, "output_field", None)) is UUIDField


# A history names each message twice, and its conversation in each row: 3 µs each time.
_uuid = lru_cache(_KEPT_UUIDS)(uuid.UUID)


def update(rows: QuerySet[Any, Any], **values: Any) -> sql.Query:
    """Return the query of `rows.update(**values)`."""
    query: Any = rows.query.chain(sql.UpdateQuery)
    query.add_update_values(values)
    return query


def delete(rows: QuerySet[Any, Any]) -> sql.Query:
    """Return the query that deletes these rows. It sends no signals and follows no foreign keys, as `_raw_delete`."""
    return rows.query.chain(sql.DeleteQuery)


def insertion(rows: Sequence[Model]) -> sql.Query:
    """Return the query that inserts these rows of one model, whose fields have arguments and expressions as values.

    A column that is null in all rows is left out, and so is one that the database supplies, such as a counted number.
    """
    query = sql.InsertQuery(type(rows[0]))
    query.insert_values([field for field, _values in _given_columns(rows)], list(rows))
    return query


def insert(rows: Sequence[Model], using: str) -> None:
    """Insert rows of one model that `new_row` has made, as `bulk_create` does. Their columns have values, no expressions.

    A column that a row does not have gets its default, or what the database supplies, such as the time.
    """
    for first in range(0, len(rows), MOST_ROWS):
        part = rows[first : first + MOST_ROWS]
        shape = [tuple(vars(row)) for row in part]
        _insert.execute_many(using, [dict(enumerate(map(vars, part)))], type(part[0]), *shape)
    for row in rows:
        row._state.adding, row._state.db = False, using


def create(model: type[Row], using: str, /, **columns: Any) -> Row:
    """Insert a row and return it, as `create` does: if a site listens to the model's signals, by this itself."""
    if pre_save.has_listeners(model) or post_save.has_listeners(model):
        row = model(**columns)
        row.save(force_insert=True, using=using)
    else:
        row = new_row(model, **columns)
        insert([row], using)
    return row


@Statement
def _insert(model: type[Model], *rows: tuple[str, ...]) -> sql.Query:
    """rows: the names of the columns that each row has."""
    fields = {field.attname: field for field in model._meta.concrete_fields}
    return insertion(
        [
            model(**{name: Argument(number, fields[name], name) for name in names if name in fields})
            for number, names in enumerate(rows)
        ]
    )


def _given_columns(rows: Sequence[Model]) -> Iterator[tuple[Field[Any, Any], list[Any]]]:
    """Yield the fields that the rows have values of, with these. The database supplies the others."""
    for field in rows[0]._meta.concrete_fields:
        values = [field.pre_save(row, add=True) for row in rows]
        if _is_given(field, values):
            yield field, values


def _is_given(field: Field[Any, Any], values: Sequence[Any]) -> bool:
    """Return whether there is a value. Raises ValueError for rows that differ in whether the database supplies it."""
    if not field.has_db_default():
        return values.count(None) < len(values)
    given = {not isinstance(value, DatabaseDefault) for value in values}
    if len(given) > 1:
        raise ValueError(f"{field} must have a value in all rows, or in none.")
    return given == {True}
