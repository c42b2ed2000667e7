"""The other side of hub.test.ts: Python's huggingface_hub, which takes hub and cache from the environment.

    python hub.py versions PACKAGE...       which of the packages are here
    python hub.py fetch REPOSITORY FILE...  downloads files, prints their paths
    python hub.py find REPOSITORY FILE...   the same without the network: a path or the name of the error
    python hub.py scan                      what its cache manager finds: files by repository and commit, and problems

Each job prints JSON as its last line.
"""
import json
import sys

from packages import versions


def fetch(repository, *files):
    from huggingface_hub import hf_hub_download, list_repo_files

    missing = set(files) - set(list_repo_files(repository))
    if missing:
        raise SystemExit(f"not in the list of files: {missing}")
    return [hf_hub_download(repository, file) for file in files]


def find(repository, *files):
    from huggingface_hub import hf_hub_download

    found = []
    for file in files:
        try:
            found.append(hf_hub_download(repository, file, local_files_only=True))
        except Exception as error:
            found.append(type(error).__name__)
    return found


def scan():
    from huggingface_hub import scan_cache_dir

    info = scan_cache_dir()
    return {
        "problems": [str(problem) for problem in info.warnings],
        "incomplete": len(info.incomplete_files),
        "repositories": {
            repo.repo_id: {
                revision.commit_hash: {
                    "refs": sorted(revision.refs),
                    "files": {file.file_name: file.size_on_disk for file in revision.files},
                }
                for revision in repo.revisions
            }
            for repo in info.repos
        },
    }


if __name__ == "__main__":
    jobs = {"versions": versions, "fetch": fetch, "find": find, "scan": scan}
    print(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])))
