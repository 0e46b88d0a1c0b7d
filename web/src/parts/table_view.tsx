// A view that is one table of the server's, with a filter, the number of rows and downloads above it.

import { useState } from "preact/hooks";
import type { Column } from "../feed";
import { DataTable, type Field } from "./table";
import { Toolbar } from "./toolbar";
import { useView } from "./use_view";
import { Waiting } from "./waiting";

type Columns = Record<string, Column>;

interface Props {
  view: string; // its name at the server
  title: string;
  what?: string; // that there are so many of, if that is not the view's name
  fields: Field[];
  sort: string; // as that of DataTable
  keyOf: (columns: Columns, row: number) => string;
  onOpen?: (columns: Columns, row: number) => void;
}

export function TableView({ view, title, what = view, fields, sort, keyOf, onOpen }: Props) {
  const now = useView(view);
  const [shown, setShown] = useState(0);
  if (!now) return <Waiting />;
  const table = now.tables.rows;
  return (
    <div class="fill">
      <h1>{title}</h1>
      <Toolbar shown={shown} of={table.rows} what={what} download={view} />
      <DataTable
        label={title}
        table={table}
        fields={fields}
        keyOf={(row) => keyOf(table.columns, row)}
        sort={sort}
        onOpen={onOpen && ((row) => onOpen(table.columns, row))}
        onCount={setShown}
      />
    </div>
  );
}
