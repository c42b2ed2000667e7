"""The other side of notebooks.test.ts: nbclient, which runs notebooks in Deno's kernel for Jupyter as JupyterLab does.

    python notebooks.py versions PACKAGE...     which of the packages are here
    python notebooks.py run NOTEBOOK            what each cell of code shows
    python notebooks.py interrupt               interrupts a cell that computes for ever, and runs another one after it

DENO in the environment is the path of Deno. Each job prints JSON as its last line.
"""
import asyncio
import json
import os
import queue
import sys
import tempfile
import time

from packages import versions


def write_kernel(folder):
    """Registers Deno's kernel in a folder, with the settings that docs/notebooks/README.md recommends."""
    os.makedirs(os.path.join(folder, "deno"))
    command = [os.environ["DENO"], "jupyter", "--kernel", "--conn", "{connection_file}"]
    spec = {"argv": command, "display_name": "Deno", "language": "typescript", "interrupt_mode": "message"}
    with open(os.path.join(folder, "deno", "kernel.json"), "w") as file:
        json.dump(spec, file)


def client_of(notebook, folder, **options):
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpecManager
    from nbclient import NotebookClient

    specs = KernelSpecManager(kernel_dirs=[folder])
    manager = AsyncKernelManager(kernel_name="deno", kernel_spec_manager=specs)
    return NotebookClient(notebook, km=manager, timeout=240, **options), manager


def has_less(outputs, saved):
    """Whether there are fewer objects than were saved, or less text."""

    def amounts(all_outputs):
        streams = [output for output in all_outputs if output.output_type == "stream"]
        return len(all_outputs) - len(streams), sum(output.text.count("\n") for output in streams)

    return any(now < before for now, before in zip(amounts(outputs), amounts(saved)))


async def outputs_of(client, cell, cell_index, execute_reply, are_all):
    """On a busy machine the kernel says that it is idle before it has sent all outputs, and nbclient waits for no more."""
    end, cell_id = time.time() + 10, execute_reply["parent_header"]["msg_id"]
    while not are_all(cell.outputs) and time.time() < end:
        try:
            message = await client.kc.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if message["parent_header"].get("msg_id") == cell_id and message["msg_type"] != "status":
            client.process_message(message, cell, cell_index)


def run(path):
    import nbformat

    notebook, saved = (nbformat.read(path, as_version=4) for _ in range(2))
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []

    async def wait_for_the_last(cell, cell_index, execute_reply):
        saved_outputs = saved.cells[cell_index].outputs
        await outputs_of(client, cell, cell_index, execute_reply, lambda outputs: not has_less(outputs, saved_outputs))

    with tempfile.TemporaryDirectory() as folder:
        write_kernel(folder)
        client, manager = client_of(
            notebook,
            folder,
            resources={"metadata": {"path": os.path.dirname(path)}},
            on_cell_executed=wait_for_the_last,
        )
        try:
            client.execute()
        finally:
            asyncio.run(manager.shutdown_kernel(now=True))
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def interrupt():
    import nbformat
    from nbclient.exceptions import CellExecutionError

    cells = ["const before = 41;", "while (true) {}", "before + 1"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with tempfile.TemporaryDirectory() as folder:
        write_kernel(folder)

        async def wait_for_the_last(cell, cell_index, execute_reply):
            if cell_index == 2:
                await outputs_of(client, cell, cell_index, execute_reply, lambda outputs: len(outputs) > 0)

        client, manager = client_of(notebook, folder, on_cell_executed=wait_for_the_last)

        async def all_cells():
            async with client.async_setup_kernel(cleanup_kc=True):
                await client.async_execute_cell(notebook.cells[0], 0)
                endless = asyncio.ensure_future(client.async_execute_cell(notebook.cells[1], 1))
                await asyncio.sleep(2)
                await manager.interrupt_kernel()
                try:
                    await asyncio.wait_for(endless, 30)
                    ended = "finished"
                except CellExecutionError:
                    ended = "interrupted"
                await client.async_execute_cell(notebook.cells[2], 2)
                await manager.shutdown_kernel(now=True)
                return ended

        ended = asyncio.run(all_cells())
    return {"ended": ended, "after": notebook.cells[2].outputs[0].data["text/plain"]}


if __name__ == "__main__":
    jobs = {"versions": versions, "run": run, "interrupt": interrupt}
    print(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])))
