"""A quiet day: seeded synthetic traffic of Windows and Linux machines, in the order of event time.

Every machine is at work on a few stories at once, picked from those that fit its role; the stream
goes from machine to machine and takes a few events of one story each time. It fires none of the
shipped rules, though some stories come close to one on purpose: a health check that opens a socket in
bash, a compiler run whose product talks to itself, a changed user number, a web server's odd cmd.exe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from detectord.demo.machines import (
    APP_POOL,
    MILLISECOND,
    ROOT,
    SECOND,
    SYSTEM,
    WWW,
    Act,
    Connected,
    Document,
    Ended,
    Forked,
    Host,
    Loaded,
    LoggedOn,
    Machine,
    Process,
    RegistrySet,
    Resolved,
    Started,
    User,
    Wrote,
    fleet,
)
from detectord.demo.reporters import reported

Story = Callable[[Machine], Iterator[Act]]

STORIES_AT_ONCE = 3
LONGEST_BURST = 6
"""Events of one story taken in a row."""


def events(
    seed: int,
    count: int,
    start_ns: int,
    hosts: int | Sequence[Host] = 10,
    *,
    rate: float = 500.0,
) -> Iterator[Document]:
    """`count` events from `start_ns` (ns since the epoch) on, `rate` of them a second of event time.

    `hosts` is the machines, or how many (those of `fleet(seed, hosts)`). Never going back in event
    time; ids are unique.
    """
    chosen = fleet(seed, hosts) if isinstance(hosts, int) else list(hosts)
    random = Random(f"traffic {seed}")  # noqa: S311 - no secret comes of it
    workers = [_Worker(Machine(host, f"traffic {seed}", start_ns)) for host in chosen]
    spacing = SECOND / rate
    sent, clock = 0, start_ns
    while sent < count:
        worker = random.choice(workers)
        story = random.choice(worker.stories)
        for _ in range(min(random.randint(1, LONGEST_BURST), count - sent)):
            clock = max(clock, start_ns + int(spacing * (sent + random.random())))
            if worker.whole_milliseconds:
                clock = -(-clock // MILLISECOND) * MILLISECOND
            worker.machine.now = clock
            yield next(story)
            sent += 1


class _Worker:
    """A machine and the stories it is at work on, which never end."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.stories = [reported(machine, _work(machine)) for _ in range(STORIES_AT_ONCE)]
        self.whole_milliseconds = machine.host.reporter != "defend"
        """Its product knows event times no better; rounded up, so that printed times keep their order."""


def _work(machine: Machine) -> Iterator[Act]:
    stories = STORIES[machine.host.role]
    while True:
        yield from machine.random.choice(stories)(machine)


# --- Linux -----------------------------------------------------------------------------------


def _cron(machine: Machine) -> Iterator[Act]:
    cron = machine.service("/usr/sbin/cron", "-f", "-P")
    task = machine.random.choice(("popularity", "sysstat", "logrotate", "certificates"))
    shell = machine.spawn(
        cron, "/usr/bin/dash", "-c", f"test -x /usr/local/sbin/{task} && /usr/local/sbin/{task}"
    )
    yield Started(shell)
    job = machine.spawn(shell, f"/usr/local/sbin/{task}", "--quiet")
    yield Started(job)
    yield Wrote(
        job, f"/var/lib/{task}/status.{machine.random.randrange(40)}", machine.random.randrange(80, 9_000)
    )
    yield Ended(job)
    yield Ended(shell)


def _updates(machine: Machine) -> Iterator[Act]:
    timer = machine.service("/usr/lib/apt/apt.systemd.daily", "update")
    apt = machine.spawn(timer, "/usr/bin/apt-get", "-qq", "-y", "update")
    yield Started(apt)
    method = machine.spawn(apt, "/usr/lib/apt/methods/http")
    yield Started(method)
    yield Resolved(method, "packages.example.test", "198.51.100.20")
    yield Connected(method, "198.51.100.20", 80)
    for part in machine.random.sample(("main", "universe", "security", "restricted"), 2):
        yield Wrote(method, f"/var/lib/apt/lists/packages.example.test_{part}_Packages", 1_250_000)
    yield Ended(method)
    yield Ended(apt)


def _web(machine: Machine) -> Iterator[Act]:
    nginx = machine.service("/usr/sbin/nginx", "worker", "process", user=WWW)
    php = machine.service("/usr/sbin/php-fpm8.3", "pool", "www", user=WWW)
    visitor = f"198.51.100.{machine.random.randrange(30, 250)}"
    yield Connected(nginx, visitor, 443, incoming=True)
    if machine.random.random() < 0.3:
        yield Wrote(php, f"/var/lib/php/sessions/sess_{machine.random.getrandbits(64):016x}", 312)
    yield Connected(php, "192.0.2.18", 5432)
    if machine.random.random() < 0.1:
        picture = machine.spawn(php, "/usr/bin/convert", "upload.png", "-resize", "640x640", "thumb.webp")
        yield Started(picture)
        yield Wrote(picture, f"/var/www/html/media/thumb-{machine.random.randrange(900)}.webp", 18_211)
        yield Ended(picture)


def _workers(machine: Machine) -> Iterator[Act]:
    """Comes close to the reverse shell of a suspicious parent: an interpreter forks and connects."""
    server = machine.service("/usr/bin/python3", "-m", "gunicorn", "shop.wsgi", "--workers", "4", user=WWW)
    worker = machine.fork(server)
    yield Forked(worker)
    yield Connected(worker, "192.0.2.18", 5432)
    yield Wrote(worker, f"/var/log/shop/worker-{worker.pid % 50}.log", 8_402)
    yield Ended(worker)


def _probe(machine: Machine) -> Iterator[Act]:
    """Comes close to the shell that opens a socket by itself: this one asks its own machine. Only for
    machines whose product tells command lines: the rule makes its exceptions by them."""
    keeper = machine.service("/usr/sbin/keepalived", "--dont-fork")
    port = machine.random.choice((8080, 8443, 9000))
    shell = machine.spawn(
        keeper,
        "/usr/bin/bash",
        "-c",
        f"exec 3<>/dev/tcp/localhost/{port} && echo -e 'HEAD / HTTP/1.0\\n' >&3",
    )
    yield Started(shell)
    yield Connected(shell, "127.0.0.1", port)
    yield Ended(shell)


def _metrics(machine: Machine) -> Iterator[Act]:
    """Comes close, too: an interpreter that was given its program on the command line connects."""
    agent = machine.service("/usr/bin/telegraf", "--config", "/etc/telegraf/telegraf.conf")
    script = machine.spawn(
        agent, "/usr/bin/python3", "-c", "import shutil; print(shutil.disk_usage('/').free)"
    )
    yield Started(script)
    yield Connected(script, "192.0.2.40", 8086)
    yield Ended(script)
    yield Connected(agent, "192.0.2.40", 8086)


def _admin(machine: Machine) -> Iterator[Act]:
    """An administrator at work; numbers of users change, but to none that is taken."""
    person = machine.host.person
    random = machine.random
    sshd = machine.service("/usr/sbin/sshd", "-D")
    if random.random() < 0.2:
        yield LoggedOn(
            User("", random.choice(("admin", "test", "oracle"))), "198.51.100.77", sshd, success=False
        )
    yield LoggedOn(person, "192.0.2.11", sshd)
    shell = machine.spawn(sshd, "/usr/bin/bash", "--login", user=person, directory=f"/home/{person.name}")
    yield Started(shell)
    for program, args in random.sample(_COMMANDS, 3):
        account = ROOT if program == "/usr/sbin/usermod" else person
        command = machine.spawn(shell, program, *args, user=account)
        yield Started(command)
        yield Ended(command)
    yield Ended(shell)


_COMMANDS = (
    ("/usr/bin/ls", ("-la", "/var/log")),
    ("/usr/bin/df", ("-h",)),
    ("/usr/bin/systemctl", ("status", "nginx.service", "--no-pager")),
    ("/usr/bin/journalctl", ("-u", "cron.service", "--since", "-1h", "--no-pager")),
    ("/usr/bin/vim", ("/etc/nginx/sites-available/shop.conf",)),
    ("/usr/bin/id", ("deploy",)),
    ("/usr/bin/ss", ("-tlnp",)),
    ("/usr/bin/git", ("pull", "--ff-only")),
    ("/usr/sbin/usermod", ("-a", "-G", "docker", "deploy")),
    ("/usr/sbin/usermod", ("-u", "1042", "-o", "deploy")),
)


def _build(machine: Machine) -> Iterator[Act]:
    """Comes close to the freshly compiled program that calls home: this one talks to its own machine."""
    runner = machine.service("/usr/local/bin/ci-runner", "run", "--config", "/etc/ci-runner.toml", user=WWW)
    name = machine.random.choice(("ledger-tests", "parser-tests", "wire-tests"))
    make = machine.spawn(runner, "/usr/bin/make", "-j2", name, directory="/srv/ci/build")
    yield Started(make)
    for unit in machine.random.sample(("main", "parse", "store", "index", "queue"), 2):
        yield from _compiler(machine, make, "-O2", "-c", f"{unit}.c", "-o", f"{unit}.o")
    gcc = machine.spawn(make, "/usr/bin/gcc", "-o", name, "main.o", "parse.o", "-lpthread")
    yield Started(gcc)
    linker = machine.spawn(gcc, "/usr/bin/ld", "-o", name, "main.o", "parse.o", "-lpthread", "-lc")
    yield Started(linker)
    yield Wrote(linker, f"/srv/ci/build/{name}", 88_120)
    yield Ended(linker)
    yield Ended(gcc)
    tests = machine.spawn(make, f"/srv/ci/build/{name}", "--all")
    yield Started(tests)
    yield Connected(tests, "127.0.0.1", 5432)
    yield Ended(tests)
    yield Ended(make)


def _compiler(machine: Machine, make: Process, *args: str) -> Iterator[Act]:
    gcc = machine.spawn(make, "/usr/bin/gcc", *args)
    yield Started(gcc)
    assembler = machine.spawn(gcc, "/usr/bin/as", "--64", "-o", args[-1])
    yield Started(assembler)
    yield Wrote(assembler, f"/srv/ci/build/{args[-1]}", 22_904)
    yield Ended(assembler)
    yield Ended(gcc)


def _backup(machine: Machine) -> Iterator[Act]:
    cron = machine.service("/usr/sbin/cron", "-f", "-P")
    day = machine.random.randrange(1, 29)
    dump = machine.spawn(cron, "/usr/bin/tar", "-czf", f"/var/backups/etc-{day:02d}.tar.gz", "/etc")
    yield Started(dump)
    yield Wrote(dump, f"/var/backups/etc-{day:02d}.tar.gz", 2_411_904)
    yield Ended(dump)
    copy = machine.spawn(cron, "/usr/bin/rsync", "-a", "/var/backups/", "backup.example.com::nightly")
    yield Started(copy)
    yield Resolved(copy, "backup.example.com", "192.0.2.41")
    yield Connected(copy, "192.0.2.41", 873)
    yield Ended(copy)


def _database(machine: Machine) -> Iterator[Act]:
    server = machine.service("/usr/lib/postgresql/16/bin/postgres", "-D", "/var/lib/postgresql/16/main")
    yield Connected(server, f"192.0.2.{machine.random.choice((10, 15))}", 5432, incoming=True)
    worker = machine.spawn(server, "/usr/lib/postgresql/16/bin/postgres", "--fork", "autovacuum")
    yield Started(worker)
    yield Wrote(
        worker, f"/var/lib/postgresql/16/main/base/16384/{machine.random.randrange(16_400, 16_700)}", 8_192
    )
    yield Ended(worker)


# --- Windows ---------------------------------------------------------------------------------

_LIBRARIES = ("kernel32.dll", "ntdll.dll", "crypt32.dll", "urlmon.dll", "combase.dll", "winhttp.dll")
_SITES = (
    ("mail.example.com", "192.0.2.30"),
    ("intranet.example.com", "192.0.2.31"),
    ("cdn.example.test", "198.51.100.60"),
    ("news.example.test", "198.51.100.61"),
    ("maps.example.test", "198.51.100.62"),
)


def _logon(machine: Machine) -> Iterator[Act]:
    random = machine.random
    lsass = machine.service(r"C:\Windows\System32\lsass.exe")
    if random.random() < 0.2:
        yield LoggedOn(machine.host.person, f"192.0.2.{random.randrange(11, 40)}", lsass, success=False)
    yield LoggedOn(machine.host.person, f"192.0.2.{random.randrange(11, 40)}", lsass)
    explorer = _desktop(machine)
    process = machine.spawn(explorer, r"C:\Windows\System32\taskhostw.exe", "KEYROAMING")
    yield Started(process)
    yield Ended(process)


def _desktop(machine: Machine) -> Process:
    return machine.service(r"C:\Windows\explorer.exe", user=machine.host.person)


def _office(machine: Machine) -> Iterator[Act]:
    random, name = machine.random, machine.host.person.name
    document = random.choice(("minutes.docx", "budget 2026.xlsx", "offer.docx", "rota.xlsx"))
    program = "WINWORD.EXE" if document.endswith("docx") else "EXCEL.EXE"
    process = machine.spawn(
        _desktop(machine),
        rf"C:\Program Files\Example Office\{program}",
        "/n",
        rf"C:\Users\{name}\Documents\{document}",
        directory=rf"C:\Users\{name}\Documents" + "\\",
    )
    yield Started(process)
    for library in random.sample(_LIBRARIES, 2):
        yield Loaded(process, rf"C:\Windows\System32\{library}")
    yield RegistrySet(
        process,
        rf"HKU\{machine.host.person.id}\Software\Example\Office\Recent\Item {random.randrange(1, 9)}",
        rf"C:\Users\{name}\Documents\{document}",
    )
    yield Wrote(process, rf"C:\Users\{name}\Documents\~${document}", 165)
    site, address = random.choice(_SITES)
    yield Resolved(process, site, address)
    yield Connected(process, address, 443)
    yield Ended(process)


def _browser(machine: Machine) -> Iterator[Act]:
    random, name = machine.random, machine.host.person.name
    program = r"C:\Program Files\Example Browser\browser.exe"
    browser = machine.service(program, "--profile-directory=Default", user=machine.host.person)
    page = machine.spawn(
        browser, program, "--type=renderer", "--lang=en-GB", f"--renderer-client-id={random.randrange(300)}"
    )
    yield Started(page)
    for site, address in random.sample(_SITES, 2):
        yield Resolved(browser, site, address)
        yield Connected(browser, address, 443)
    number = random.randrange(9_999)
    yield Wrote(browser, rf"C:\Users\{name}\AppData\Local\Example\Browser\Cache\f_{number:06x}", 20_480)
    yield Ended(page)


def _background(machine: Machine) -> Iterator[Act]:
    host = machine.service(r"C:\Windows\System32\svchost.exe", "-k", "netsvcs", "-p")
    program, args = machine.random.choice(
        (
            (r"C:\Windows\System32\backgroundTaskHost.exe", ("-ServerName:App.AppXexample.mca",)),
            (r"C:\Windows\System32\wbem\WmiPrvSE.exe", ("-secured", "-Embedding")),
            (r"C:\Windows\System32\SearchProtocolHost.exe", ("Global\\UsGthrFltPipe",)),
        )
    )
    process = machine.spawn(host, program, *args)
    yield Started(process)
    yield Loaded(process, rf"C:\Windows\System32\{machine.random.choice(_LIBRARIES)}")
    yield RegistrySet(
        host,
        rf"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters\Lease {machine.random.randrange(20)}",
        str(machine.random.randrange(1 << 31)),
    )
    yield Ended(process)


def _installer(machine: Machine) -> Iterator[Act]:
    host = machine.service(r"C:\Windows\System32\svchost.exe", "-k", "netsvcs", "-p")
    number = machine.random.randrange(5_030_000, 5_039_999)
    process = machine.spawn(host, r"C:\Windows\System32\msiexec.exe", "/i", f"KB{number}.msi", "/qn")
    yield Started(process)
    yield Wrote(process, rf"C:\Windows\Installer\{number:x}.msi", 1_843_200)
    yield RegistrySet(
        process,
        rf"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\KB{number}\DisplayName",
        f"Update KB{number}",
    )
    yield Ended(process)


def _inventory(machine: Machine) -> Iterator[Act]:
    scheduler = machine.service(r"C:\Windows\System32\svchost.exe", "-k", "netsvcs", "-p")
    shell = machine.spawn(
        scheduler,
        r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        "-NoProfile", "-NonInteractive", "-File", r"C:\ProgramData\Example\inventory.ps1",
        user=SYSTEM,
    )  # fmt: skip
    yield Started(shell)
    query = machine.spawn(shell, r"C:\Windows\System32\wbem\WMIC.exe", "os", "get", "Version", "/value")
    yield Started(query)
    yield Ended(query)
    yield Wrote(shell, r"C:\ProgramData\Example\inventory.json", 14_336)
    yield Resolved(shell, "intranet.example.com", "192.0.2.31")
    yield Connected(shell, "192.0.2.31", 443)
    yield Ended(shell)


def _site(machine: Machine) -> Iterator[Act]:
    worker = machine.service(r"C:\Windows\System32\inetsrv\w3wp.exe", "-ap", "DefaultAppPool", user=APP_POOL)
    visitor = f"198.51.100.{machine.random.randrange(30, 250)}"
    yield Connected(worker, visitor, 443, incoming=True)
    yield Wrote(
        worker,
        rf"C:\inetpub\logs\LogFiles\W3SVC1\u_ex{machine.random.randrange(250_101, 251_231)}.log",
        65_536,
    )
    yield Connected(worker, "192.0.2.32", 1433)
    if machine.random.random() < 0.2:
        compiler = machine.spawn(
            worker,
            r"C:\Windows\Microsoft.NET\Framework64\v4.0.30319\csc.exe",
            "/noconfig", "/fullpaths", rf"@C:\Windows\Temp\{machine.random.getrandbits(32):08x}.cmdline",
        )  # fmt: skip
        yield Started(compiler)
        yield Ended(compiler)


def _console_size(machine: Machine) -> Iterator[Act]:
    """Comes close to the web shell: PHP asks the console for its size, which the rule knows of."""
    php = machine.service(r"C:\php\php.exe", r"C:\inetpub\tools\queue.php", user=APP_POOL)
    line = machine.random.choice(('cmd.exe /s /c "mode CON"', 'cmd.exe /s /c "tput colors 2>&1"'))
    shell = machine.spawn(
        php, r"C:\Windows\System32\cmd.exe", "/s", "/c", line[14:].strip('"'), command_line=line
    )
    yield Started(shell)
    yield Ended(shell)


STORIES: Mapping[str, Sequence[Story]] = {
    "web": (_web, _web, _web, _cron, _probe, _metrics, _updates, _admin),
    "app": (_workers, _workers, _web, _cron, _probe, _metrics, _admin),
    "build": (_build, _build, _cron, _updates, _metrics, _admin),
    "bastion": (_admin, _admin, _cron, _backup),
    "db": (_database, _database, _cron, _backup, _metrics, _admin),
    "wks": (_browser, _browser, _office, _background, _background, _logon, _installer, _inventory),
    "iis": (_site, _site, _site, _background, _console_size, _inventory),
    "dc": (_logon, _logon, _logon, _background, _inventory),
}
"""What machines of each role do; what stands there twice is done twice as often."""
