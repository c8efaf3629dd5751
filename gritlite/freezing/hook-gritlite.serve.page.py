"""The files of the server's page."""

from PyInstaller.utils.hooks import collect_data_files

datas = collect_data_files("gritlite.serve.page")
