"""MITRE ATT&CK: from Sigma's tags (`attack.execution`, `attack.t1059.001`) to a rule's `threat`.

A rule's `threat` puts techniques below the tactics they serve; Sigma lists both side by side.
`_TECHNIQUES` says which tactics a technique serves, and its name, for those that rules name most. One
that it does not hold goes below the rule's first tactic, under its number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

_TACTICS: Final = {
    "reconnaissance": ("TA0043", "Reconnaissance"),
    "resource-development": ("TA0042", "Resource Development"),
    "initial-access": ("TA0001", "Initial Access"),
    "execution": ("TA0002", "Execution"),
    "persistence": ("TA0003", "Persistence"),
    "privilege-escalation": ("TA0004", "Privilege Escalation"),
    "defense-evasion": ("TA0005", "Defense Evasion"),
    "credential-access": ("TA0006", "Credential Access"),
    "discovery": ("TA0007", "Discovery"),
    "lateral-movement": ("TA0008", "Lateral Movement"),
    "collection": ("TA0009", "Collection"),
    "command-and-control": ("TA0011", "Command and Control"),
    "exfiltration": ("TA0010", "Exfiltration"),
    "impact": ("TA0040", "Impact"),
}
_LETTERS: Final = {
    "R": "reconnaissance", "D": "resource-development", "I": "initial-access", "E": "execution",
    "P": "persistence", "V": "privilege-escalation", "F": "defense-evasion", "C": "credential-access",
    "S": "discovery", "L": "lateral-movement", "O": "collection", "K": "command-and-control",
    "X": "exfiltration", "M": "impact",
}  # fmt: skip

# Number, letters of the tactics, name
_ROWS: Final = """
1001 K Data Obfuscation
1003 C OS Credential Dumping
1005 O Data from Local System
1007 S System Service Discovery
1008 K Fallback Channels
1010 S Application Window Discovery
1012 S Query Registry
1014 F Rootkit
1016 S System Network Configuration Discovery
1018 S Remote System Discovery
1020 X Automated Exfiltration
1021 L Remote Services
1027 F Obfuscated Files or Information
1030 X Data Transfer Size Limits
1033 S System Owner/User Discovery
1036 F Masquerading
1037 PV Boot or Logon Initialization Scripts
1039 O Data from Network Shared Drive
1040 CS Network Sniffing
1041 X Exfiltration Over C2 Channel
1046 S Network Service Discovery
1047 E Windows Management Instrumentation
1048 X Exfiltration Over Alternative Protocol
1049 S System Network Connections Discovery
1053 EPV Scheduled Task/Job
1055 FV Process Injection
1056 OC Input Capture
1057 S Process Discovery
1059 E Command and Scripting Interpreter
1068 V Exploitation for Privilege Escalation
1069 S Permission Groups Discovery
1070 F Indicator Removal
1071 K Application Layer Protocol
1072 EL Software Deployment Tools
1074 O Data Staged
1078 FPVI Valid Accounts
1082 S System Information Discovery
1083 S File and Directory Discovery
1087 S Account Discovery
1090 K Proxy
1091 LI Replication Through Removable Media
1095 K Non-Application Layer Protocol
1098 PV Account Manipulation
1102 K Web Service
1105 K Ingress Tool Transfer
1106 E Native API
1110 C Brute Force
1112 FP Modify Registry
1113 O Screen Capture
1114 O Email Collection
1115 O Clipboard Data
1119 O Automated Collection
1120 S Peripheral Device Discovery
1123 O Audio Capture
1124 S System Time Discovery
1125 O Video Capture
1127 F Trusted Developer Utilities Proxy Execution
1129 E Shared Modules
1132 K Data Encoding
1133 PI External Remote Services
1134 FV Access Token Manipulation
1135 S Network Share Discovery
1136 P Create Account
1137 P Office Application Startup
1140 F Deobfuscate/Decode Files or Information
1176 P Software Extensions
1185 O Browser Session Hijacking
1187 C Forced Authentication
1189 I Drive-by Compromise
1190 I Exploit Public-Facing Application
1195 I Supply Chain Compromise
1197 FP BITS Jobs
1199 I Trusted Relationship
1200 I Hardware Additions
1201 S Password Policy Discovery
1202 F Indirect Command Execution
1203 E Exploitation for Client Execution
1204 E User Execution
1205 FPK Traffic Signaling
1207 F Rogue Domain Controller
1210 L Exploitation of Remote Services
1211 F Exploitation for Defense Evasion
1212 C Exploitation for Credential Access
1213 O Data from Information Repositories
1216 F System Script Proxy Execution
1217 S Browser Information Discovery
1218 F System Binary Proxy Execution
1219 K Remote Access Tools
1220 F XSL Script Processing
1221 F Template Injection
1222 F File and Directory Permissions Modification
1480 F Execution Guardrails
1482 S Domain Trust Discovery
1484 FV Domain or Tenant Policy Modification
1485 M Data Destruction
1486 M Data Encrypted for Impact
1489 M Service Stop
1490 M Inhibit System Recovery
1491 M Defacement
1495 M Firmware Corruption
1496 M Resource Hijacking
1497 FS Virtualization/Sandbox Evasion
1498 M Network Denial of Service
1499 M Endpoint Denial of Service
1505 P Server Software Component
1518 S Software Discovery
1526 S Cloud Service Discovery
1528 C Steal Application Access Token
1529 M System Shutdown/Reboot
1530 O Data from Cloud Storage
1531 M Account Access Removal
1534 L Internal Spearphishing
1537 X Transfer Data to Cloud Account
1539 C Steal Web Session Cookie
1542 FP Pre-OS Boot
1543 PV Create or Modify System Process
1546 PV Event Triggered Execution
1547 PV Boot or Logon Autostart Execution
1548 VF Abuse Elevation Control Mechanism
1550 FL Use Alternate Authentication Material
1552 C Unsecured Credentials
1553 F Subvert Trust Controls
1554 P Compromise Host Software Binary
1555 C Credentials from Password Stores
1556 CFP Modify Authentication Process
1557 CO Adversary-in-the-Middle
1558 C Steal or Forge Kerberos Tickets
1559 E Inter-Process Communication
1560 O Archive Collected Data
1561 M Disk Wipe
1562 F Impair Defenses
1563 L Remote Service Session Hijacking
1564 F Hide Artifacts
1565 M Data Manipulation
1566 I Phishing
1567 X Exfiltration Over Web Service
1568 K Dynamic Resolution
1569 E System Services
1570 L Lateral Tool Transfer
1571 K Non-Standard Port
1572 K Protocol Tunneling
1573 K Encrypted Channel
1574 PVF Hijack Execution Flow
1578 F Modify Cloud Compute Infrastructure
1580 S Cloud Infrastructure Discovery
1583 D Acquire Infrastructure
1584 D Compromise Infrastructure
1586 D Compromise Accounts
1587 D Develop Capabilities
1588 D Obtain Capabilities
1589 R Gather Victim Identity Information
1590 R Gather Victim Network Information
1591 R Gather Victim Org Information
1592 R Gather Victim Host Information
1595 R Active Scanning
1606 C Forge Web Credentials
1608 D Stage Capabilities
1609 E Container Administration Command
1610 FE Deploy Container
1611 V Escape to Host
1613 S Container and Resource Discovery
1614 S System Location Discovery
1615 S Group Policy Discovery
1620 F Reflective Code Loading
1621 C Multi-Factor Authentication Request Generation
1649 C Steal or Forge Authentication Certificates
1651 E Cloud Administration Command
1654 S Log Enumeration
1657 M Financial Theft
"""
_TECHNIQUES: Final = {
    f"T{number}": (name, [_LETTERS[letter] for letter in letters])
    for number, letters, name in (row.split(" ", 2) for row in _ROWS.strip().split("\n"))
}
_TECHNIQUE = re.compile(r"t([0-9]{4})(?:\.([0-9]{3}))?")
_SITE = "https://attack.mitre.org"


def threat(tags: Sequence[str]) -> tuple[list[dict[str, Any]], list[str], list[str]]:
    """A rule's `threat`, the names of its tactics, and the tags that are about something else.

    `tags` are Sigma's, namespace included.
    """
    tactics: list[str] = []
    techniques: dict[str, list[str]] = {}
    rest: list[str] = []
    for tag in tags:
        namespace, _, word = tag.lower().partition(".")
        found = _TECHNIQUE.fullmatch(word)
        tactic = word.replace("_", "-")
        if namespace == "attack" and tactic in _TACTICS:
            tactics.append(tactic)
        elif namespace == "attack" and found:
            below = techniques.setdefault(f"T{found[1]}", [])
            below += [f"T{found[1]}.{found[2]}"] if found[2] else []
        else:
            rest.append(tag)
    tactics = list(dict.fromkeys(tactics)) or _tactics_of(techniques)
    placed = {technique: _places(technique, tactics) for technique in techniques}
    whole = [
        _tactic(tactic, {each: techniques[each] for each in techniques if tactic in placed[each]})
        for tactic in tactics
    ]
    lost = [technique for technique, places in placed.items() if not places]
    return whole, [_TACTICS[tactic][1] for tactic in tactics], [*rest, *(f"attack.{t.lower()}" for t in lost)]


def _tactics_of(techniques: dict[str, list[str]]) -> list[str]:
    """A tactic for the techniques of a rule that names none: the first one of each."""
    return list(dict.fromkeys(_TECHNIQUES[each][1][0] for each in techniques if each in _TECHNIQUES))


def _places(technique: str, tactics: Sequence[str]) -> list[str]:
    """The tactics below which a technique goes."""
    serves = _TECHNIQUES[technique][1] if technique in _TECHNIQUES else []
    return [tactic for tactic in tactics if tactic in serves] or list(tactics[:1])


def _tactic(tactic: str, techniques: dict[str, list[str]]) -> dict[str, Any]:
    number, name = _TACTICS[tactic]
    entry: dict[str, Any] = {
        "framework": "MITRE ATT&CK",
        "tactic": {"id": number, "name": name, "reference": f"{_SITE}/tactics/{number}/"},
    }
    if techniques:
        entry["technique"] = [_technique(each, below) for each, below in techniques.items()]
    return entry


def _technique(number: str, below: Sequence[str]) -> dict[str, Any]:
    entry: dict[str, Any] = _reference(number, _TECHNIQUES[number][0] if number in _TECHNIQUES else number)
    if below:
        entry["subtechnique"] = [_reference(each, each) for each in dict.fromkeys(below)]
    return entry


def _reference(number: str, name: str) -> dict[str, Any]:
    return {"id": number, "name": name, "reference": f"{_SITE}/techniques/{number.replace('.', '/')}/"}
