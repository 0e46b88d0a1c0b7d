"""scaler_ui: a web page that shows a scheduler at work, `/metrics` for Prometheus, and downloads.

    reports ──> history ──> tables, stream_view ──> feed (WebSocket) ──> the browser (its sources are in web/)
    (listener, or a recording)  └──> metrics (/metrics), downloads (CSV, JSON)

Rule 1: everything here runs in the process of scaler_ui. The scheduler publishes reports and knows nothing of pages.
Rule 2: the page fetches nothing from anywhere else. Its bundle is built from web/ into static/ (`make page`).
Rule 3: a browser gets the columns of the view that is open, once per round of reports, and nothing while it is hidden.
Rule 4: aiohttp, numpy and prometheus_client belong to the extra `ui`, and nothing outside of this folder needs them.
"""
